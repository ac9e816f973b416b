/** Server-sent events, and a job followed to its end. */
import { EventSourceParserStream } from "eventsource-parser/stream";
import { authorized, client, data as body, reason, type Job } from "./client";

export interface ServerEvent {
  event: string;
  data: Record<string, unknown>;
  /** What `Last-Event-ID` takes to go on after it. */
  id?: string;
}

/** Server-sent events of a GET or POST, with the token that EventSource cannot send. */
export async function* events(path: string, init: RequestInit = {}): AsyncGenerator<ServerEvent> {
  const answer = await authorized(path, init);
  if (!answer.ok || !answer.body) throw reason(await answer.json().catch(() => undefined), answer.status);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream()).getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield { event: value.event ?? "message", data: JSON.parse(value.data), id: value.id };
    }
  } finally {
    reader.cancel().catch(() => undefined);
  }
}

export const unfinished = (job: Job): boolean => ["queued", "running", "preempting"].includes(job.state);

/** The job's events until it ends; where they break off, it is asked for instead. */
export async function follow(jobId: string, signal: AbortSignal, tell: (job: Job) => void): Promise<void> {
  for (;;) {
    try {
      for await (const { data } of events(`/jobs/${jobId}/events`, { signal })) tell(data as unknown as Job);
      return;
    } catch (error) {
      if (signal.aborted) throw error;
      await new Promise((resume) => setTimeout(resume, 2000));
      const job = await body(client.GET("/jobs/{job_id}", { params: { path: { job_id: jobId } } }));
      tell(job);
      if (!unfinished(job)) return;
    }
  }
}
