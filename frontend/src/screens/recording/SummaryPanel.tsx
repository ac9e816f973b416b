/** The recording in short, what it is made of, and for each statement the moment that bears it out. */
import { Button } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { client, data } from "../../api/client";
import { useCancelJob, useLiveJob } from "../../api/queries/jobs";
import { summarise, useSummary, type Coverage, type Summary, type SummaryRequest } from "../../api/queries/transcript";
import { clock, percent } from "../../format";
import { Progress } from "../../parts/Progress";
import { Skeletons } from "../../parts/Skeletons";
import { Trouble } from "../../parts/Trouble";
import { Claims } from "./Claims";

const TEMPLATES = ["meeting", "interview", "voice_note", "lecture"] as const;
type Template = (typeof TEMPLATES)[number];
type Mode = NonNullable<SummaryRequest["mode"]>;

interface Props {
  id: string;
  title: string;
}

export function SummaryPanel({ id, title }: Props) {
  const { t } = useTranslation("recording");
  const { data: summary, error, refetch } = useSummary(id);
  const making = useMaking(id);
  if (error && summary === undefined) {
    return <Trouble what={t("summary.failed")} why={error.message}><Button size="compact-md" variant="default" onClick={() => void refetch()}>{t("again")}</Button></Trouble>;
  }
  if (summary === undefined) return <Skeletons lines={2} />;
  return (
    <>
      <Trouble what={t("summary.failed")} why={making.trouble} />
      {making.job && <Writing jobId={making.job} title={title} onEnd={making.ended} />}
      {!making.job && (!summary || summary.stale) && (
        <p className={summary ? "notice small" : "quiet small"}>{t(summary ? "summary.stale" : "summary.none")}</p>
      )}
      {!making.job && <Ask key={summary?.template} first={!summary || Boolean(summary.stale)} template={summary?.template} busy={making.busy} onAsk={making.ask} />}
      {summary && <Shown summary={summary} id={id} title={title} />}
    </>
  );
}

/** A summary being made: at once from the words themselves, or as a job of the language model. */
function useMaking(id: string) {
  const { t } = useTranslation("recording");
  const cache = useQueryClient();
  const [job, setJob] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  const [trouble, setTrouble] = useState<string | null>(null);
  const again = () => cache.invalidateQueries({ queryKey: ["summary", id] });
  async function ask(template: Template, mode: Mode) {
    setBusy(true);
    setTrouble(null);
    try {
      const answer = await summarise(id, { template, mode });
      if ("job_id" in answer) setJob(answer.job_id);
      else cache.setQueryData(["summary", id], answer);
    } catch (error) {
      setTrouble((error as Error).message);
    }
    setBusy(false);
  }
  function ended(why: string | null, cancelled: boolean) {
    setJob(null);
    if (cancelled) setTrouble(t("summary.cancelled"));
    else if (why) setTrouble(why);
    void again();
  }
  return { job, busy, trouble, ask, ended };
}

function Writing({ jobId, title, onEnd }: { jobId: string; title: string; onEnd: (why: string | null, cancelled: boolean) => void }) {
  const { t } = useTranslation("recording");
  const cancel = useCancelJob();
  // Asked for once more: the last event may not have been drawn yet.
  const job = useLiveJob(jobId, () => {
    data(client.GET("/jobs/{job_id}", { params: { path: { job_id: jobId } } }))
      .then((last) => onEnd(last.error ?? null, last.state === "cancelled"))
      .catch((error: Error) => onEnd(error.message, false));
  });
  return (
    <div className="working">
      <Progress label={t("summary.progress", { title })} percent={job?.progress.percent ?? 0} stage={job?.progress.stage ?? "queued"} etaS={job?.progress.eta_s} />
      <Button variant="default" size="compact-md" onClick={() => cancel.mutate(jobId)}>{t("cancel")}</Button>
    </div>
  );
}

interface AskProps {
  first: boolean;
  template: Template | undefined;
  busy: boolean;
  onAsk: (template: Template, mode: Mode) => Promise<void>;
}

function Ask({ first, template: last = "meeting", busy, onAsk }: AskProps) {
  const { t } = useTranslation("recording");
  const [template, setTemplate] = useState<Template>(last);
  const [mode, setMode] = useState<Mode>("extractive");
  return (
    <form className="facts asking" onSubmit={(event) => { event.preventDefault(); void onAsk(template, mode); }}>
      <select className="select" aria-label={t("summary.template")} value={template} onChange={(event) => setTemplate(event.target.value as Template)}>
        {TEMPLATES.map((each) => <option key={each} value={each}>{t(`summary.templates.${each}`)}</option>)}
      </select>
      <select className="select" aria-label={t("summary.mode")} value={mode} onChange={(event) => setMode(event.target.value as Mode)}>
        <option value="extractive">{t("summary.modes.extractive")}</option>
        <option value="model">{t("summary.modes.model")}</option>
      </select>
      <Button type="submit" variant={first ? "filled" : "default"} loading={busy}>{t(first ? "summary.make" : "summary.remake")}</Button>
    </form>
  );
}

function Shown({ summary, id, title }: { summary: Summary; id: string; title: string }) {
  const { t } = useTranslation("recording");
  const { text, claims = [], key_points = [], action_items = [], coverage, notice } = summary;
  const at = { id, title };
  return (
    <div className="summary">
      {notice && <p className="notice small">{notice}</p>}
      <p dir="auto" className="summary-text">{text}</p>
      <Covered coverage={coverage} />
      <Claims name={t("summary.actions")} points={action_items} {...at} />
      <Claims name={t("summary.claims")} points={claims.length ? claims : key_points} {...at} />
    </div>
  );
}

/** How much of the recording it is made of; nothing is left out unsaid. */
function Covered({ coverage }: { coverage: Coverage }) {
  const { t } = useTranslation("recording");
  const words = t("summary.coverage", { share: percent(coverage.share), read: clock(coverage.seconds_read), all: clock(coverage.seconds) });
  return (
    <div className="covered small">
      <meter min={0} max={1} value={coverage.share} aria-label={words} />
      <span className="quiet">{words}{coverage.claims_left_out ? ` ${t("summary.leftOut", { count: coverage.claims_left_out })}` : ""}</span>
    </div>
  );
}
