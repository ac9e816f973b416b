import { afterEach, expect, test, vi } from "vitest";
import { wrongWith } from "./check";
import { metadata, nextLength, send, waitAfter } from "./tus";

afterEach(() => vi.unstubAllGlobals());
const telling = () => ({ moved: vi.fn(), waiting: vi.fn() });
const answer = (status: number, headers: Record<string, string> = {}, body: unknown = null) =>
  new Response(body === null ? null : JSON.stringify(body), { status, headers });

/** A server that loses what it is told to lose; it keeps the bytes, as the real one does. */
function server(size: number, failures: Record<number, Response | Error>) {
  let [offset, calls] = [0, 0];
  const seen: string[] = [];
  vi.stubGlobal("fetch", async (request: Request) => {
    const failure = failures[++calls];
    seen.push(`${request.method} ${request.headers.get("Upload-Offset") ?? ""}`.trim());
    if (failure instanceof Error) throw failure;
    if (failure) return failure;
    if (request.method === "PATCH") offset += (await request.arrayBuffer()).byteLength;
    const made: Record<string, string> = offset === size ? { "X-Transcript-Id": "rec_1", "X-Job-Id": "job_1" } : {};
    return answer(204, { "Upload-Offset": String(offset), ...made });
  });
  return seen;
}

test("sound is known before it is sent; what is none, is empty or too large too", () => {
  const file = (name: string, type = "", size = 5) => ({ name, type, size });
  expect(wrongWith(file("a.wav"), 10)).toBeNull();
  expect(wrongWith(file("ohne-endung", "audio/ogg"), 10)).toBeNull();
  expect(wrongWith(file("letter.pdf", "application/pdf"), 10)).toBe("kind");
  expect(wrongWith(file("a.mp3", "audio/mpeg", 0), 10)).toBe("empty");
  expect(wrongWith(file("four-gigabytes.mp4", "video/mp4", 4 * 2 ** 30), 2 ** 30)).toBe("large");
  expect(wrongWith(file("four-gigabytes.mp4", "video/mp4", 4 * 2 ** 30), null)).toBeNull();
});

test("names in any script reach the server", () => {
  const [name] = metadata({ name: "Gespräch – שיחה.wav", type: "audio/wav", size: 1 }).split(",");
  expect(new TextDecoder().decode(Uint8Array.from(atob(name?.split(" ")[1] ?? ""), (each) => each.charCodeAt(0)))).toBe("Gespräch – שיחה.wav");
  expect(metadata({ name: "a.wav", type: "", size: 1 })).toBe(`filename ${btoa("a.wav")}`);
});

test("what passes by itself is waited for, a no is not", () => {
  expect([waitAfter(503, "7", undefined), waitAfter(429, null, undefined), waitAfter(502, null, undefined)]).toEqual([7, 2, 0]);
  expect([waitAfter(409, null, "offset_conflict"), waitAfter(409, null, "too_many_uploads"), waitAfter(413, null, undefined)]).toEqual([1, null, null]);
});

test("pieces grow on a fast line and shrink on a slow one", () => {
  expect([nextLength(256 * 1024, 50), nextLength(8 * 2 ** 20, 50), nextLength(2 ** 20, 9000), nextLength(2 ** 20, 2000)]).toEqual([512 * 1024, 8 * 2 ** 20, 2 ** 19, 2 ** 20]);
});

test("a broken line, a server away and a lost place: it asks where to go on, and goes on", async () => {
  vi.useFakeTimers({ shouldAdvanceTime: true, advanceTimeDelta: 1000 });
  const file = new Blob([new Uint8Array(600_000)]);
  const seen = server(600_000, { 2: new TypeError("network"), 5: answer(409, {}, { detail: "elsewhere", code: "offset_conflict" }) });
  const { moved, waiting } = telling();
  expect(await send(file, "http://nemo/u", new AbortController().signal, { moved, waiting })).toEqual({ transcriptId: "rec_1", jobId: "job_1" });
  expect(seen).toEqual(["HEAD", "PATCH 0", "HEAD", "PATCH 0", "PATCH 262144", "HEAD", "PATCH 262144"]);
  expect(moved.mock.lastCall).toEqual([600_000]);
  expect(waiting.mock.calls.map(([yes]) => yes)).toEqual([true, false, true, false]);
  vi.useRealTimers();
});

test("a no ends it in the server's words", async () => {
  server(10, { 1: answer(413, {}, { detail: "The file is too large." }) });
  await expect(send(new Blob(["0123456789"]), "http://nemo/u", new AbortController().signal, telling())).rejects.toThrow("The file is too large.");
});

test("who cancels while the server is away waits no longer", async () => {
  server(10, Object.fromEntries(Array.from({ length: 99 }, (_, at) => [at + 1, new TypeError("network")])));
  const abort = new AbortController();
  const sending = send(new Blob(["0123456789"]), "http://nemo/u", abort.signal, telling());
  setTimeout(() => abort.abort(), 20);
  await expect(sending).rejects.toThrow();
});
