/** Jobs: the list, cancel, retry, and one followed live. */
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { client, data, type Job } from "../client";
import { events, follow, unfinished } from "../stream";

export const JOBS = ["jobs"] as const;
const BUSY_MS = 2000;
const IDLE_MS = 20_000;

/** The newest jobs; asked for often while one of them works. */
export function useJobs() {
  return useQuery({
    queryKey: JOBS,
    queryFn: ({ signal }) => data(client.GET("/jobs", { params: { query: { limit: 50 } }, signal })),
    refetchInterval: (query) => (query.state.data?.data.some(unfinished) ? BUSY_MS : IDLE_MS),
  });
}

/** One job while it works, by its events; `onEnd` once it has ended. */
export function useLiveJob(jobId: string, onEnd: () => void): Job | null {
  const [job, setJob] = useState<Job | null>(null);
  useEffect(() => {
    const abort = new AbortController();
    follow(jobId, abort.signal, setJob).then(onEnd).catch(() => undefined);
    return () => abort.abort();
  }, [jobId]); // eslint-disable-line
  return job;
}

function useJobChange(call: (jobId: string) => Promise<unknown>) {
  const cache = useQueryClient();
  return useMutation({ mutationFn: call, onSettled: () => cache.invalidateQueries({ queryKey: JOBS }) });
}

export const useCancelJob = () =>
  useJobChange((jobId) => client.POST("/jobs/{job_id}/cancel", { params: { path: { job_id: jobId } } }));

export const useRetryJob = () =>
  useJobChange((jobId) => client.POST("/jobs/{job_id}/retry", { params: { path: { job_id: jobId } } }));

type Jobs = { data: Job[] };
const AGAIN_MS = 3000;

/** While it is shown, what happens to jobs is in the list at once; after a gap the list itself is read. */
export function useJobNews(): void {
  const cache = useQueryClient();
  useEffect(() => {
    const abort = new AbortController();
    const tell = (news: Partial<Job>) => {
      const known = cache.getQueryData<Jobs>(JOBS)?.data.some((job) => job.job_id === news.job_id && job.state === news.state);
      if (!known) return void cache.invalidateQueries({ queryKey: JOBS });
      cache.setQueryData<Jobs>(JOBS, (page) => page && { ...page, data: page.data.map((job) => (job.job_id === news.job_id ? { ...job, ...news } : job)) });
    };
    void listen(abort.signal, tell);
    return () => abort.abort();
  }, [cache]);
}

async function listen(signal: AbortSignal, tell: (news: Partial<Job>) => void): Promise<void> {
  while (!signal.aborted) {
    try {
      for await (const { event, data: news } of events("/events", { signal })) {
        if (event === "job") tell({ job_id: news.job_id, state: news.state, progress: news.progress } as Partial<Job>);
      }
    } catch {
      if (signal.aborted) return; // the list is asked for by the clock meanwhile
    }
    await new Promise((resume) => setTimeout(resume, AGAIN_MS));
  }
}
