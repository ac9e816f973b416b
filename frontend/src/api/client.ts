/** The one way to the gateway: the access token in memory, the refresh token in a cookie that scripts cannot read. */
import createClient, { type Middleware } from "openapi-fetch";
import { EventSourceParserStream } from "eventsource-parser/stream";
import type { components, paths } from "./schema";

export type Transcript = components["schemas"]["Transcript"];
export type TranscriptSummary = components["schemas"]["TranscriptSummary"];
export type Segment = components["schemas"]["Segment"];
export type SearchHit = components["schemas"]["SearchHit"];
export type Citation = components["schemas"]["Citation"];
export type Job = components["schemas"]["Job"];
export type User = components["schemas"]["User"];
export type Problem = components["schemas"]["Problem"];
export type UploadAccepted = components["schemas"]["UploadAccepted"];

/** What went wrong, in the server's words. */
export class Failure extends Error {
  constructor(
    message: string,
    readonly status: number,
  ) {
    super(message);
  }
}

let access: string | null = null;
let refreshing: Promise<boolean> | null = null;
let onSignedOut: () => void = () => undefined;

export function whenSignedOut(act: () => void): void {
  onSignedOut = act;
}

const OFFLINE = "The server does not answer. Check that it runs, then try again.";

function reason(problem: Partial<Problem> | undefined, status: number): Failure {
  return new Failure(problem?.detail ?? problem?.title ?? `The server answered ${status}.`, status);
}

async function post(path: string, body: unknown): Promise<Response> {
  try {
    return await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json", ...(access ? { Authorization: `Bearer ${access}` } : {}) },
      body: JSON.stringify(body),
    });
  } catch {
    throw new Failure(OFFLINE, 0);
  }
}

export async function register(username: string, password: string): Promise<void> {
  const answer = await post("/auth/register", { username, password });
  if (!answer.ok) throw reason(await answer.json(), answer.status);
}

export async function signIn(username: string, password: string): Promise<void> {
  const answer = await post("/auth/login", { username, password, cookie: true });
  const body = await answer.json();
  if (!answer.ok) throw reason(body, answer.status);
  access = body.access_token;
}

/** A new access token from the cookie; false where there is no session. Several callers share one request. */
export function refresh(): Promise<boolean> {
  refreshing ??= post("/auth/refresh", {})
    .then(async (answer) => {
      access = answer.ok ? (await answer.json()).access_token : null;
      return answer.ok;
    })
    .finally(() => {
      refreshing = null;
    });
  return refreshing;
}

export async function signOut(): Promise<void> {
  await post("/auth/logout", {}).catch(() => undefined);
  access = null;
  onSignedOut();
}

/** fetch with the token; an expired one is renewed once. */
async function authorized(input: Request | string, init: RequestInit = {}): Promise<Response> {
  const send = async (): Promise<Response> => {
    const request = new Request(input instanceof Request ? input.clone() : input, init);
    if (access) request.headers.set("Authorization", `Bearer ${access}`);
    try {
      return await fetch(request);
    } catch (error) {
      if (error instanceof DOMException && error.name === "AbortError") throw error;
      throw new Failure(OFFLINE, 0);
    }
  };
  const answer = await send();
  if (answer.status !== 401) return answer;
  if (await refresh()) return send();
  onSignedOut();
  return answer;
}

const client = createClient<paths>({ baseUrl: location.origin, fetch: (request) => authorized(request) });
const failLoudly: Middleware = {
  async onResponse({ response }) {
    if (response.ok) return undefined;
    throw reason(await response.clone().json().catch(() => undefined), response.status);
  },
};
client.use(failLoudly);

async function data<T>(call: Promise<{ data?: T }>): Promise<T> {
  return (await call).data as T;
}

export const api = {
  me: (): Promise<User> => data(client.GET("/auth/me")),
  recent: (cursor?: string) =>
    data(client.GET("/transcription/recent", { params: { query: { limit: 20, ...(cursor ? { cursor } : {}) } } })),
  transcript: (id: string): Promise<Transcript> =>
    data(client.GET("/transcription/{transcript_id}", { params: { path: { transcript_id: id } } })),
  rename: (id: string, title: string): Promise<Transcript> =>
    data(client.PATCH("/transcription/{transcript_id}", { params: { path: { transcript_id: id } }, body: { title } })),
  remove: (id: string) =>
    client.DELETE("/transcription/{transcript_id}", { params: { path: { transcript_id: id } } }),
  search: (query: string): Promise<SearchHit[]> =>
    data(client.POST("/rag/search", { body: { query, top_k: 8, mode: "hybrid" } })),
  job: (id: string): Promise<Job> => data(client.GET("/jobs/{job_id}", { params: { path: { job_id: id } } })),
  cancelJob: (id: string) => client.POST("/jobs/{job_id}/cancel", { params: { path: { job_id: id } } }),
  retryJob: (id: string) => client.POST("/jobs/{job_id}/retry", { params: { path: { job_id: id } } }),
  cancelMessage: (id: string) =>
    client.POST("/gemma/messages/{message_id}/cancel", { params: { path: { message_id: id } } }),
};

export async function health(): Promise<components["schemas"]["PlatformHealth"] | null> {
  try {
    return await (await fetch("/health")).json();
  } catch {
    return null;
  }
}

/** The recording as a URL for an <audio> element; revoke it when done. */
export async function audioUrl(id: string): Promise<string> {
  const answer = await authorized(`/transcription/${id}/audio`);
  if (!answer.ok) throw reason(await answer.json().catch(() => undefined), answer.status);
  return URL.createObjectURL(await answer.blob());
}

export async function download(id: string, format: string): Promise<void> {
  const answer = await authorized(`/transcription/${id}/export?format=${format}`);
  if (!answer.ok) throw reason(await answer.json().catch(() => undefined), answer.status);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await answer.blob());
  link.download = `${id}.${format}`;
  link.click();
  URL.revokeObjectURL(link.href);
}

/** Upload with progress from 0 to 1; XMLHttpRequest, since fetch cannot tell how much was sent. */
export async function upload(
  file: File,
  onProgress: (share: number) => void,
  signal: AbortSignal,
): Promise<UploadAccepted> {
  await api.me(); // renews an expired token before the bytes go
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", "/transcription/upload?wait_s=0");
    request.setRequestHeader("Authorization", `Bearer ${access}`);
    request.setRequestHeader("Idempotency-Key", crypto.randomUUID());
    request.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
    request.onerror = () => reject(new Failure(OFFLINE, 0));
    request.onabort = () => reject(new Failure("The upload was cancelled.", 0));
    request.onload = () => {
      let body: (UploadAccepted & Partial<Problem>) | undefined;
      try {
        body = JSON.parse(request.responseText);
      } catch {
        body = undefined;
      }
      if (request.status < 300 && body) resolve(body);
      else reject(reason(body, request.status));
    };
    signal.addEventListener("abort", () => request.abort());
    const form = new FormData();
    form.append("file", file);
    request.send(form);
  });
}

export interface ServerEvent {
  event: string;
  data: Record<string, unknown>;
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
      yield { event: value.event ?? "message", data: JSON.parse(value.data) };
    }
  } finally {
    reader.cancel().catch(() => undefined);
  }
}
