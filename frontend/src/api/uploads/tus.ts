/** Resumable uploads by tus 1.0.0 (docs/mobile.md): whatever breaks, `HEAD` says where to go on. */
import { Failure, authorized, reason } from "../client";

const ROOT = "/transcription/uploads";
const FIRST_PIECE = 256 * 1024;
const LARGEST_PIECE = 8 * 1024 * 1024;
/** A piece takes about this long, so that progress moves on any line. */
const QUICK_MS = 1000;
const SLOW_MS = 4000;
const LONGEST_WAIT_S = 30;
const GONE = 404;

export interface Described {
  name: string;
  type: string;
  size: number;
}

export interface Made {
  transcriptId: string;
  jobId: string;
}

interface Place {
  offset: number;
  made: Made | null;
}

/** The server's no, and when it may be asked again: never (null), or after so many seconds. */
class Refused extends Failure {
  constructor(failure: Failure, readonly retryAfterS: number | null) {
    super(failure.message, failure.status);
  }
}

/** What passes by itself: no answer, a restart, too many at once, a piece that came to the wrong place. */
export function waitAfter(status: number, retryAfter: string | null, code: string | undefined): number | null {
  if (status === 429 || status === 503) return Math.min(LONGEST_WAIT_S, Number(retryAfter) || 2);
  if (status === 409) return code === "offset_conflict" || code === "still_running" ? 1 : null;
  return [0, 500, 502, 504].includes(status) ? 0 : null;
}

async function call(path: string, method: string, headers: Record<string, string>, signal: AbortSignal, body?: Blob): Promise<Response> {
  const answer = await authorized(path, { method, headers: { "Tus-Resumable": "1.0.0", ...headers }, signal, body: body ?? null });
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => undefined);
  throw new Refused(reason(problem, answer.status), waitAfter(answer.status, answer.headers.get("Retry-After"), problem?.code));
}

const encoded = (text: string) => btoa(String.fromCharCode(...new TextEncoder().encode(text)));

export const metadata = ({ name, type }: Described): string =>
  [["filename", name.slice(0, 255)], ["filetype", type.slice(0, 100)]].filter(([, value]) => value).map(([key, value]) => `${key} ${encoded(value as string)}`).join(",");

/** A place for the file on the server; raises a Failure where it would not take it. */
export async function begin(file: Described, signal: AbortSignal): Promise<string> {
  const answer = await call(ROOT, "POST", { "Upload-Length": String(file.size), "Upload-Metadata": metadata(file) }, signal);
  return answer.headers.get("Location") ?? "";
}

function placeOf({ headers }: Response): Place {
  const [transcriptId, jobId] = [headers.get("X-Transcript-Id"), headers.get("X-Job-Id")];
  return { offset: Number(headers.get("Upload-Offset")), made: transcriptId && jobId ? { transcriptId, jobId } : null };
}

async function look(url: string, signal: AbortSignal): Promise<Place> {
  return placeOf(await call(url, "HEAD", {}, signal));
}

async function piece(url: string, file: Blob, offset: number, length: number, signal: AbortSignal): Promise<Place> {
  const headers = { "Upload-Offset": String(offset), "Content-Type": "application/offset+octet-stream" };
  return placeOf(await call(url, "PATCH", headers, signal, file.slice(offset, offset + length)));
}

/** Bigger pieces on a fast line, smaller ones on a slow one. */
export function nextLength(length: number, tookMs: number): number {
  if (tookMs < QUICK_MS) return Math.min(LARGEST_PIECE, length * 2);
  return tookMs > SLOW_MS ? Math.max(FIRST_PIECE / 4, length / 2) : length;
}

const pause = (seconds: number, signal: AbortSignal) =>
  new Promise<void>((resolve, reject) => {
    const timer = setTimeout(done, seconds * 1000);
    function done() {
      clearTimeout(timer);
      removeEventListener("online", done);
      if (signal.aborted) reject(signal.reason as Error);
      else resolve();
    }
    addEventListener("online", done, { once: true });
    signal.addEventListener("abort", done, { once: true });
  });

interface Telling {
  /** So many bytes are safe. */
  moved: (offset: number) => void;
  /** The server is away, or is back. */
  waiting: (yes: boolean) => void;
}

/** Until the last byte is there. Raises the server's no; what passes by itself is waited for. */
export async function send(file: Blob, url: string, signal: AbortSignal, { moved, waiting }: Telling): Promise<Made> {
  let place: Place | null = null;
  let length = FIRST_PIECE;
  for (let tries = 0; ; ) {
    try {
      const began = performance.now();
      if (place) {
        place = await piece(url, file, place.offset, length, signal);
        length = nextLength(length, performance.now() - began);
      } else place = await look(url, signal);
      moved(place.offset);
      if (tries > 0) waiting(false);
      tries = 0;
      if (place.made) return place.made;
    } catch (error) {
      const wait = error instanceof Refused ? error.retryAfterS : error instanceof Failure && error.status === 0 ? 0 : null;
      if (wait === null) throw error;
      waiting(true);
      place = null;
      await pause(Math.max(wait, Math.min(LONGEST_WAIT_S, 2 ** tries++)), signal);
    }
  }
}

/** Give it up on the server too; that it is gone already is as good. */
export async function discard(url: string): Promise<void> {
  await call(url, "DELETE", {}, new AbortController().signal).catch((error: unknown) => {
    if (!(error instanceof Failure) || error.status !== GONE) throw error;
  });
}

/** The server has forgotten it: its 24 hours are over. */
export const expired = (error: unknown): boolean => error instanceof Failure && error.status === GONE;
