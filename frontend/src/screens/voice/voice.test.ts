import { expect, test, vi } from "vitest";
import { hear, NO_TALK, placeOf, type Talk, type VoiceEvent } from "./events";
import { Playback } from "./playback";

const after = (...events: object[]): Talk => events.reduce<Talk>((talk, event) => hear(talk, { seq: 0, ...event } as VoiceEvent), NO_TALK);

test("a question grows, is asked, and its answer streams in", () => {
  const talk = after(
    { type: "partial", text: "what" }, { type: "transcript", text: "What now?", final: true }, { type: "thinking", message_id: "m", conversation_id: "cnv_1" },
    { type: "token", text: "Ask " }, { type: "token", text: "not [1]." }, { type: "sentence", index: 0, text: "Ask not.", at_ms: 0 }, { type: "done", conversation_id: "cnv_1" },
  );
  expect(talk.hearing).toBe("");
  expect(talk.conversationId).toBe("cnv_1");
  expect(talk.turns).toEqual([{ question: "What now?", answer: "Ask not [1].", citations: [], sentences: [{ text: "Ask not.", at_ms: 0 }], state: "done", notice: null }]);
});

test("an interrupted answer keeps what was written; the next question is a turn of its own", () => {
  const talk = after(
    { type: "transcript", text: "One?", final: true }, { type: "token", text: "Be" }, { type: "interrupted", by: "speech" }, { type: "transcript", text: "Two?", final: true },
  );
  expect(talk.turns.map(({ question, answer, state }) => [question, answer, state])).toEqual([["One?", "Be", "interrupted"], ["Two?", "", "thinking"]]);
});

test("an error ends the answer that was waited for and says why", () => {
  const talk = after({ type: "transcript", text: "One?", final: true }, { type: "error", code: "down", detail: "The model is away." });
  expect([talk.turns[0]?.state, talk.said?.detail, talk.said?.error]).toEqual(["interrupted", "The model is away.", true]);
});

test("the sentence that sounds is found in the written answer, marks or not", () => {
  const answer = "He said: “Ask not” [1]. Don't wait [2], then.";
  const at = placeOf(answer, "Don't wait, then.");
  expect(at && answer.slice(...at)).toBe("Don't wait [2], then");
  expect(placeOf(answer, "Never said")).toBeNull();
  expect(placeOf(answer, "…")).toBeNull();
});

function loudspeaker() {
  const started: number[] = [];
  const context = {
    currentTime: 0, destination: {}, close: vi.fn(), stopped: 0,
    createBuffer: (_: number, length: number) => ({ length, copyToChannel: vi.fn() }),
    createBufferSource: () => ({ connect: vi.fn(), disconnect: vi.fn(), start: (at: number) => started.push(at), stop: () => context.stopped++, buffer: null }),
  };
  return { context, started, playback: new Playback(() => context as unknown as AudioContext) };
}
const tenth = () => new ArrayBuffer(4800); // 100 ms at 24 kHz

test("pieces follow one another without a gap, and a late one loses nothing", () => {
  const { context, started, playback } = loudspeaker();
  playback.begin();
  playback.push(tenth(), 24_000);
  playback.push(tenth(), 24_000);
  expect((started[1] as number) - (started[0] as number)).toBeCloseTo(0.1);
  context.currentTime = 1;
  expect([playback.sounding, Math.round(playback.heardMs())]).toEqual([false, 200]);
  playback.push(tenth(), 24_000);
  context.currentTime = (started[2] as number) + 0.05;
  expect(Math.round(playback.heardMs())).toBe(250);
});

test("cut is silence at once, also for what is still on its way, until the next answer", () => {
  const { context, started, playback } = loudspeaker();
  playback.begin();
  playback.push(tenth(), 24_000);
  playback.cut();
  playback.push(tenth(), 24_000);
  expect([context.stopped, started.length, playback.sounding]).toEqual([1, 1, false]);
  playback.begin();
  playback.push(tenth(), 24_000);
  expect([started.length, playback.sounding]).toEqual([2, true]);
});
