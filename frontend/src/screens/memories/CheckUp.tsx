/** How the memory is: what stands twice, what contradicts itself, what nothing stands behind; and putting it right. */
import { Button } from "@mantine/core";
import { IconMoodSmile, IconTool } from "@tabler/icons-react";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { useLiveJob } from "../../api/queries/jobs";
import { useAudit, useMemory, useRebuildIndex, useRepair, useStale } from "../../api/queries/memories";
import { day, number } from "../../format";
import { useHidden } from "../../parts/hidden";
import { Progress } from "../../parts/Progress";
import { Skeletons } from "../../parts/Skeletons";
import { Trouble } from "../../parts/Trouble";
import { useAddress } from "./address";
import { short, useForget } from "./Card";

interface Pair {
  memory_ids: string[];
  reason: string;
}

export default function CheckUp() {
  const { t } = useTranslation("memories");
  const { data: audit, error, refetch } = useAudit();
  const hidden = useHidden();
  if (error && !audit) return <Trouble why={error.message}><Button size="compact-md" variant="default" onClick={() => void refetch()}>{t("again")}</Button></Trouble>;
  if (!audit) return <Skeletons lines={3} />;
  const both = ({ memory_ids: ids }: Pair) => !ids.some((id) => hidden.has(id));
  const duplicates = audit.duplicates.filter(both);
  const contradictions = audit.contradictions.filter(both);
  const well = !duplicates.length && !contradictions.length && !audit.orphans.length && !audit.loops.length;
  return (
    <>
      <dl className="mem-figures">
        <Figure name={t("audit.memories")} value={audit.memories} />
        <Figure name={t("states.active")} value={audit.facts.active ?? 0} />
        <Figure name={t("states.pending")} value={audit.facts.pending ?? 0} />
        <Figure name={t("audit.indexed")} value={audit.index.indexed} of={audit.index.chunks} />
      </dl>
      {well && <p className="mem-well"><IconMoodSmile size={22} stroke={1.6} aria-hidden="true" />{t("audit.well")}</p>}
      {audit.truncated && <p className="notice small">{t("audit.truncated")}</p>}
      <Pairs title={t("audit.duplicates")} text={t("audit.duplicates-text")} pairs={duplicates} />
      <Pairs title={t("audit.contradictions")} text={t("audit.contradictions-text")} pairs={contradictions} />
      <Repairing orphans={audit.orphans.length + audit.loops.length} />
      <Index stale={audit.index.stale} />
    </>
  );
}

function Figure({ name, value, of }: { name: string; value: number; of?: number }) {
  return <div><dt>{name}</dt><dd>{number(value)}{of !== undefined && <small> / {number(of)}</small>}</dd></div>;
}

function Pairs({ title, text, pairs }: { title: string; text: string; pairs: Pair[] }) {
  const { t } = useTranslation("memories");
  if (!pairs.length) return null;
  return (
    <section className="mem-pairs">
      <h2>{title}</h2>
      <p className="quiet small">{text}</p>
      <ul className="list">
        {pairs.map((pair) => (
          <li key={pair.memory_ids.join()} className="card">
            <p className="quiet small">{t(`audit.reasons.${pair.reason}`, { defaultValue: pair.reason })}</p>
            <div className="mem-pair">{pair.memory_ids.map((id) => <Half key={id} id={id} />)}</div>
          </li>
        ))}
      </ul>
    </section>
  );
}

function Half({ id }: { id: string }) {
  const { t } = useTranslation("memories");
  const address = useAddress();
  const forget = useForget();
  const { data: memory, error } = useMemory(id);
  if (!memory) return error ? <Trouble why={error.message} /> : <Skeletons lines={1} />;
  return (
    <div>
      <Link className="mem-open" to="/memories" search={{ ...address, memory: id } as never}>
        {memory.title && <strong dir="auto">{memory.title}</strong>}<span className="mem-text" dir="auto">{memory.content}</span>
      </Link>
      <p className="quiet small">{day(memory.occurred_at)}</p>
      <Button size="compact-sm" variant="default" aria-label={`${t("audit.forget")}: ${short(memory.content)}`} onClick={() => forget({ id, content: memory.content })}>{t("audit.forget")}</Button>
    </div>
  );
}

function Repairing({ orphans }: { orphans: number }) {
  const { t } = useTranslation("memories");
  const repair = useRepair();
  const done = Object.values(repair.data?.done ?? {}).reduce((sum, each) => sum + each, 0);
  return (
    <section className="card row">
      <div className="grow">
        <h2>{t("audit.repair")}</h2>
        <p className="quiet small">{t("audit.orphans", { count: orphans })} {t("audit.repair-text")}</p>
        <p className="small" role="status">{repair.data && t("audit.repaired", { count: done })}</p>
        <Trouble why={repair.error?.message} />
      </div>
      <Button variant="default" leftSection={<IconTool size={18} />} loading={repair.isPending} onClick={() => repair.mutate()}>{t("audit.repair-act")}</Button>
    </section>
  );
}

function Index({ stale }: { stale: number }) {
  const { t } = useTranslation("memories");
  const rebuild = useRebuildIndex();
  const [over, setOver] = useState<string | null>(null);
  const job = rebuild.data?.job_id;
  return (
    <section className="card">
      <div className="row">
        <div className="grow">
          <h2>{t("audit.index")}</h2>
          <p className="quiet small">{stale > 0 ? t("audit.stale", { count: stale }) : t("audit.index-text")}</p>
          <p className="small" role="status">{job && over === job && t("audit.rebuilt")}</p>
          <Trouble why={rebuild.error?.message} />
        </div>
        <Button variant="default" loading={rebuild.isPending || (job !== undefined && over !== job)} onClick={() => rebuild.mutate()}>{t("audit.rebuild")}</Button>
      </div>
      {job && over !== job && <Rebuilding key={job} job={job} onEnd={() => setOver(job)} />}
    </section>
  );
}

function Rebuilding({ job, onEnd }: { job: string; onEnd: () => void }) {
  const { t } = useTranslation("memories");
  const stale = useStale();
  const progress = useLiveJob(job, () => { onEnd(); void stale(); })?.progress;
  return <Progress label={t("audit.index")} percent={progress?.percent ?? 0} etaS={progress?.eta_s} />;
}
