/** All jobs, live; the drawer and the page show the same. */
import { Button } from "@mantine/core";
import { IconStack2 } from "@tabler/icons-react";
import { Link } from "@tanstack/react-router";
import { useEffect, useRef } from "react";
import { useTranslation } from "react-i18next";
import type { Job } from "../../api/client";
import { useJobNews, useJobs } from "../../api/queries/jobs";
import { useRecordings } from "../../api/queries/recordings";
import { announce } from "../../app/announce";
import { EmptyState } from "../../parts/EmptyState";
import { Skeletons } from "../../parts/Skeletons";
import { Trouble } from "../../parts/Trouble";
import { JobCard } from "./JobCard";
import { sorted } from "./place";
import "./jobs.css";

interface Props {
  /** How many that have ended. */
  ended: number;
  onLeave?: () => void;
}

export function JobList({ ended: most, onLeave }: Props) {
  const { t } = useTranslation("jobs");
  const { data, error, refetch } = useJobs();
  const recordingOf = useRecordingOf();
  useJobNews();
  const jobs = data?.data;
  useTold(jobs);
  if (error && !jobs) return <Trouble what={t("unreadable")} why={error.message}><Button size="compact-md" variant="default" onClick={() => void refetch()}>{t("again")}</Button></Trouble>;
  if (!jobs) return <Skeletons lines={2} />;
  const { open, ended } = sorted(jobs);
  const card = (job: Job) => {
    const recording = recordingOf(job);
    return <JobCard key={job.job_id} job={job} {...(recording ? { recording } : {})} {...(onLeave ? { onLeave } : {})} />;
  };
  return (
    <>
      {open.length === 0 && (
        <EmptyState icon={IconStack2} title={t("empty.title")} text={t("empty.text")}>
          <Link to="/" onClick={onLeave}>{t("empty.act")}</Link>
        </EmptyState>
      )}
      {open.length > 0 && <ul className="list" aria-label={t("open")}>{open.map(card)}</ul>}
      {ended.length > 0 && (
        <>
          <h2 className="job-heading">{t("ended")}</h2>
          <ul className="list" aria-label={t("ended")}>{ended.slice(0, most).map(card)}</ul>
        </>
      )}
    </>
  );
}

/** The recording that a job made or makes; jobs themselves hold no words of a person. */
function useRecordingOf() {
  const items = useRecordings().data?.pages.flatMap((page) => page.data) ?? [];
  return (job: Job) => {
    const id = typeof job.result?.transcript_id === "string" ? job.result.transcript_id : null;
    const found = items.find((item) => item.job_id === job.job_id || item.transcript_id === id);
    return found && { id: found.transcript_id, title: found.title };
  };
}

/** Says once for each job that it has ended while one looks. */
function useTold(jobs: readonly Job[] | undefined): void {
  const { t } = useTranslation("jobs");
  const before = useRef(new Map<string, string>());
  useEffect(() => {
    for (const job of jobs ?? []) {
      const was = before.current.get(job.job_id);
      if (was && was !== job.state) announce(`${t(`kind.${job.kind}`, { defaultValue: job.kind })}: ${t(`state.${job.state}`)}`);
      before.current.set(job.job_id, job.state);
    }
  }, [jobs, t]);
}
