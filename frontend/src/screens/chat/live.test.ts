import { QueryClient } from "@tanstack/react-query";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Draft } from "./answer";
import { Answers, keptAnswer } from "./live";

const STATUS = 'id: 1\nevent: status\ndata: {"stage":"searching","message_id":"msg_1","conversation_id":"cnv_1"}\n\n';
const TOKEN = 'id: 2\nevent: token\ndata: {"text":"Yes."}\n\n';
const DONE = 'id: 3\nevent: done\ndata: {"response":"Yes. Indeed.","citations":[],"evidence":[],"model":"m"}\n\n';
const stream = (text: string) => new Response(text, { headers: { "Content-Type": "text/event-stream" } });
const problem = (status: number, detail: string) => Response.json({ detail }, { status });

let answers: (Response | Error)[] = [];
let asked: { path: string; last: string | null }[] = [];
let cache: QueryClient;

vi.setConfig({ testTimeout: 40_000 });

beforeEach(() => {
  asked = [];
  cache = new QueryClient();
  sessionStorage.clear();
  vi.stubGlobal("fetch", async (input: Request | string) => {
    const request = input instanceof Request ? input : new Request(new URL(input, location.href));
    asked.push({ path: new URL(request.url).pathname, last: request.headers.get("Last-Event-ID") });
    const next = answers.shift() ?? new Error("nothing more was to be asked");
    if (next instanceof Error) throw next;
    return next;
  });
});
afterEach(() => void vi.unstubAllGlobals());

const draft = () => cache.getQueryData<Draft[]>(["answers-being-written"])?.[0];
const ended = (state: string) => vi.waitFor(() => expect(draft()?.state).toBe(state), { timeout: 20_000 });

test("a stream that breaks off is read on from its last event", async () => {
  answers = [stream(STATUS + TOKEN), new TypeError("network"), stream(DONE)];
  new Answers(cache, { done: "There." }).ask("Is it?", null);
  await vi.waitFor(() => expect(draft()?.mending).toBe(true), { timeout: 20_000, interval: 10 });
  expect(keptAnswer("cnv_1")).toBe("msg_1");
  await ended("complete");
  expect(draft()).toMatchObject({ text: "Yes. Indeed.", mending: false, conversationId: "cnv_1" });
  expect(asked).toEqual([
    { path: "/gemma/chat", last: null }, { path: "/gemma/messages/msg_1/events", last: "2" }, { path: "/gemma/messages/msg_1/events", last: "2" },
  ]);
  expect(keptAnswer("cnv_1")).toBeUndefined();
});

test("a server that was started anew no longer knows it: the conversation does", async () => {
  answers = [stream(STATUS + TOKEN), problem(404, "This answer is not being written any more.")];
  new Answers(cache, { done: "There." }).ask("Is it?", null);
  await ended("gone");
  expect(draft()?.text).toBe("Yes.");
});

test("a question that did not arrive fails at once, in words, and is asked only once", async () => {
  answers = [problem(503, "Too many answers are being written.")];
  const all = new Answers(cache, { done: "There." });
  const key = all.ask("Is it?", "cnv_1");
  await ended("failed");
  expect([draft()?.trouble, asked.length]).toEqual(["Too many answers are being written.", 1]);
  all.drop(key);
  expect(draft()).toBeUndefined();
});

test("a token that ran out is renewed, and the reading goes on", async () => {
  answers = [stream(STATUS), problem(401, "expired"), Response.json({ access_token: "new" }), stream(TOKEN + DONE)];
  new Answers(cache, { done: "There." }).ask("Is it?", null);
  await ended("complete");
  expect(asked.map((each) => each.path)).toEqual(["/gemma/chat", "/gemma/messages/msg_1/events", "/auth/refresh", "/gemma/messages/msg_1/events"]);
});

test("an answer is not read twice, however often it is resumed", async () => {
  answers = [stream(STATUS + DONE)];
  const all = new Answers(cache, { done: "There." });
  all.resume("Is it?", "cnv_1", "msg_1");
  all.resume("Is it?", "cnv_1", "msg_1");
  await ended("complete");
  expect(asked.length).toBe(1);
});
