/** The one way to the gateway: the access token in memory, the refresh token in a cookie that scripts cannot read. */
import createClient, { type Middleware } from "openapi-fetch";
import type { components, paths } from "./schema";
import { setLocked } from "./vault-lock";

export type Transcript = components["schemas"]["Transcript"];
export type TranscriptSummary = components["schemas"]["TranscriptSummary"];
export type Segment = components["schemas"]["Segment"];
export type SearchHit = components["schemas"]["SearchHit"];
export type Citation = components["schemas"]["Citation"];
export type Job = components["schemas"]["Job"];
export type SpeakerOfTranscript = components["schemas"]["Speaker"];
export type PlatformHealth = components["schemas"]["PlatformHealth"];
export type User = components["schemas"]["User"];
export type Problem = components["schemas"]["Problem"];
export type EnrolledSpeaker = components["schemas"]["EnrolledSpeaker"];
export type GpuStatus = components["schemas"]["GpuStatus"];
export type AccessTokenCreated = components["schemas"]["AccessTokenCreated"];
export type RetentionRules = components["schemas"]["RetentionRules"];
export type ImportResult = components["schemas"]["ImportResult"];
export type VaultState = components["schemas"]["VaultState"];

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

/** For requests that are not made by fetch. */
export const bearer = (): string => `Bearer ${access}`;

let onSignedOut: () => void = () => undefined;

export function whenSignedOut(act: () => void): void {
  onSignedOut = act;
}

export const OFFLINE = "The server does not answer. Check that it runs, then try again.";

/** The server's problem as an error to show. */
export function reason(problem: Partial<Problem> | undefined, status: number): Failure {
  if (status === 423) setLocked(true);
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

export function whoAmI(): Promise<User> {
  return data(client.GET("/auth/me"));
}

export async function signOut(): Promise<void> {
  await post("/auth/logout", {}).catch(() => undefined);
  access = null;
  setLocked(false);
  onSignedOut();
}

/** fetch with the token; an expired one is renewed once. */
export async function authorized(input: Request | string, init: RequestInit = {}): Promise<Response> {
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

export const client = createClient<paths>({ baseUrl: location.origin, fetch: (request) => authorized(request) });
const failLoudly: Middleware = {
  async onResponse({ response }) {
    if (response.ok) return undefined;
    throw reason(await response.clone().json().catch(() => undefined), response.status);
  },
};
client.use(failLoudly);

/** The address of a socket of this server, with a ticket that is good once: browsers send no headers with one. */
export async function socketUrl(path: string): Promise<string> {
  const { ticket } = await data(client.POST("/auth/ticket"));
  return `${location.origin.replace(/^http/, "ws")}${path}?ticket=${encodeURIComponent(ticket)}`;
}

/** The body of an answer; a Failure was thrown where there is none. */
export async function data<T>(call: Promise<{ data?: T }>): Promise<T> {
  return (await call).data as T;
}
