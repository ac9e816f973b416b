/** Where a job stands, and in which order a person wants to see them. */
import type { Job } from "../../api/client";
import { unfinished } from "../../api/stream";

export type Place = "working" | "waiting" | "parked" | "ended";

/** `parked`: what was begun gave way to somebody who waits at the screen, and goes on after. */
export function placeOf(job: Job): Place {
  if (!unfinished(job)) return "ended";
  if (job.state === "preempting" || (job.state === "queued" && job.progress.percent > 0)) return "parked";
  return job.state === "running" ? "working" : "waiting";
}

export const retriable = (job: Job): boolean => ["failed", "dead", "cancelled"].includes(job.state);

/** What moves, what waits (the first come first), what ended (the newest first). */
export function sorted(jobs: readonly Job[]): { open: Job[]; ended: Job[] } {
  const open = jobs.filter(unfinished);
  const rank = (job: Job) => (job.state === "running" ? 0 : 1);
  open.sort((a, b) => rank(a) - rank(b) || a.created_at.localeCompare(b.created_at));
  const when = (job: Job) => job.finished_at ?? job.created_at;
  const ended = jobs.filter((job) => !unfinished(job)).sort((a, b) => when(b).localeCompare(when(a)));
  return { open, ended };
}
