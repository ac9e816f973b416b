/** One job: what, how far, how long still, and what can be done about it. */
import { Button } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import type { Job } from "../../api/client";
import { useCancelJob, useRetryJob } from "../../api/queries/jobs";
import { unfinished } from "../../api/stream";
import { day, stage as words } from "../../format";
import { Progress } from "../../parts/Progress";
import { Trouble } from "../../parts/Trouble";
import { fail } from "../../parts/UndoToast";
import { placeOf, retriable } from "./place";

interface Props {
  job: Job;
  /** Of the recording that it works on, where that is known. */
  recording?: { id: string; title: string };
  onLeave?: () => void;
}

export function JobCard({ job, recording, onLeave }: Props) {
  const { t } = useTranslation("jobs");
  const kind = t(`kind.${job.kind}`, { defaultValue: job.kind });
  const name = recording?.title ?? kind;
  return (
    <li className="card job">
      <div className="row">
        <div className="grow">
          <h3>
            {recording ? <Link to="/recording/$id" params={{ id: recording.id }} dir="auto" {...(onLeave ? { onClick: onLeave } : {})}>{name}</Link> : name}
          </h3>
          <p className="facts quiet small">
            {recording && <span>{kind}</span>}
            <span>{day(job.created_at)}</span>
            {job.attempt > 1 && <span>{t("attempt", { count: job.attempt })}</span>}
          </p>
        </div>
        <span className={`job-state ${job.state}`}>{t(`state.${job.state}`)}</span>
      </div>
      {unfinished(job) ? <Working job={job} name={name} /> : <Ended job={job} name={name} />}
    </li>
  );
}

function Working({ job, name }: { job: Job; name: string }) {
  const { t } = useTranslation("jobs");
  const cancel = useCancelJob();
  const { stage, percent, eta_s } = job.progress;
  return (
    <div className="job-work">
      <Progress label={t("progress", { name })} stage={stage || "queued"} percent={percent} etaS={eta_s ?? null} />
      {placeOf(job) === "parked" && <p className="quiet small">{t("parked")}</p>}
      <Button
        variant="default" size="compact-sm" loading={cancel.isPending} aria-label={t("cancel-name", { name })}
        onClick={() => cancel.mutate(job.job_id, { onError: fail })}
      >
        {t("cancel")}
      </Button>
    </div>
  );
}

/** What failed goes on from the stage that failed: the ones before it are kept. */
function Ended({ job, name }: { job: Job; name: string }) {
  const { t } = useTranslation("jobs");
  const retry = useRetryJob();
  if (!retriable(job)) return null;
  const at = job.progress.stage;
  const label = at && at !== "queued" && at !== "done" ? t("retry-stage", { stage: words(at) }) : t("retry");
  const button = (
    <Button
      variant="default" size="compact-sm" loading={retry.isPending} aria-label={`${label}: ${name}`}
      onClick={() => retry.mutate(job.job_id, { onError: fail })}
    >
      {label}
    </Button>
  );
  if (job.state === "cancelled") return button;
  return <Trouble why={job.error ?? t("failed")}>{button}</Trouble>;
}
