/** A recording that is still being made, or that was not finished: how far it is, and what to click. */
import { Button } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import type { Transcript } from "../../api/client";
import { useCancelJob, useLiveJob, useRetryJob } from "../../api/queries/jobs";
import { Progress } from "../../parts/Progress";
import { Trouble } from "../../parts/Trouble";
import { fail } from "../../parts/UndoToast";

interface Props {
  transcript: Transcript;
  onChange: () => void;
}

export function Working({ transcript, onChange }: Props) {
  const { status, job_id: job } = transcript;
  if (status === "failed" || status === "cancelled") return <Ended transcript={transcript} onChange={onChange} />;
  if ((status !== "queued" && status !== "processing") || !job) return null;
  return <Running jobId={job} title={transcript.title} onChange={onChange} />;
}

function Running({ jobId, title, onChange }: { jobId: string; title: string; onChange: () => void }) {
  const { t } = useTranslation("recording");
  const progress = useLiveJob(jobId, onChange)?.progress;
  const cancel = useCancelJob();
  return (
    <div className="card working">
      <Progress label={t("progress", { title })} stage={progress?.stage ?? "queued"} percent={progress?.percent ?? 0} etaS={progress?.eta_s} />
      <Button variant="default" size="compact-md" onClick={() => cancel.mutate(jobId, { onError: fail, onSettled: onChange })}>{t("cancel")}</Button>
      <p className="quiet small">{t("comes")}</p>
    </div>
  );
}

/** What was done before it stopped is kept: another try goes on from there. */
function Ended({ transcript, onChange }: Props) {
  const { t } = useTranslation("recording");
  const retry = useRetryJob();
  const { job_id: job, status, error } = transcript;
  const why = status === "cancelled" ? t("cancelled") : (error ?? t("failed"));
  return (
    <Trouble what={status === "failed" ? t("unfinished") : undefined} why={why}>
      {job && <Button variant="default" size="compact-md" loading={retry.isPending} onClick={() => retry.mutate(job, { onSuccess: onChange, onError: fail })}>{t("retry")}</Button>}
      <Link to="/">{t("back")}</Link>
    </Trouble>
  );
}
