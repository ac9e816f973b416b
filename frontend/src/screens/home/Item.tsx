import { ActionIcon, Button } from "@mantine/core";
import { IconTrash } from "@tabler/icons-react";
import { Link } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import type { TranscriptSummary } from "../../api/client";
import { useCancelJob, useLiveJob, useRetryJob } from "../../api/queries/jobs";
import { clock, time } from "../../format";
import { EmotionBadge } from "../../parts/EmotionBadge";
import { Progress } from "../../parts/Progress";
import { Trouble } from "../../parts/Trouble";

interface Props {
  item: TranscriptSummary;
  onChange: () => void;
  onRemove: () => void;
}

export function Item({ item, onChange, onRemove }: Props) {
  const { t } = useTranslation("home");
  const { transcript_id: id, title, status, job_id: job } = item;
  const working = status === "queued" || status === "processing";
  return (
    <li className="card row">
      <div className="grow">
        <h3><Link to="/recording/$id" params={{ id }} dir="auto">{title}</Link></h3>
        <p className="facts quiet small">
          <time dateTime={item.created_at}>{time(item.created_at)}</time>
          {item.duration_s != null && <span>{clock(item.duration_s)}</span>}
          <EmotionBadge label={item.emotion} />
        </p>
        {working && job && <Working jobId={job} title={title} onEnd={onChange} />}
        {(status === "failed" || status === "cancelled") && <Ended item={item} onChange={onChange} />}
        {item.preview && <p className="preview" dir="auto">{item.preview}</p>}
      </div>
      <ActionIcon variant="subtle" color="gray" size="lg" aria-label={t("delete", { title })} onClick={onRemove}>
        <IconTrash size={20} stroke={1.5} />
      </ActionIcon>
    </li>
  );
}

function Working({ jobId, title, onEnd }: { jobId: string; title: string; onEnd: () => void }) {
  const { t } = useTranslation("home");
  const progress = useLiveJob(jobId, onEnd)?.progress;
  const cancel = useCancelJob();
  return (
    <div className="working">
      <Progress stage={progress?.stage ?? "queued"} percent={progress?.percent ?? 0} etaS={progress?.eta_s} label={t("progress", { title })} />
      <Button variant="default" size="compact-md" onClick={() => cancel.mutate(jobId)}>{t("cancel")}</Button>
    </div>
  );
}

function Ended({ item, onChange }: { item: TranscriptSummary; onChange: () => void }) {
  const { t } = useTranslation("home");
  const retry = useRetryJob();
  const job = item.job_id;
  return (
    <Trouble why={item.status === "cancelled" ? t("cancelled") : (item.error ?? t("failed"))}>
      {job && <Button variant="default" size="compact-md" onClick={() => retry.mutate(job, { onSuccess: onChange })}>{t("again")}</Button>}
    </Trouble>
  );
}
