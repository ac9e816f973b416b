import { expect, test } from "vitest";
import { hear, NO_WORDS, type LiveEvent, type Words } from "./events";
import { MOST_MS, Unacked } from "./unacked";

const final = (utterance: number, id: string, text: string, start_s = utterance) =>
  ({ type: "final", seq: 0, utterance, segment_id: id, start_s, end_s: start_s + 1, speaker: "SPEAKER_00", text, confidence: 1 }) as LiveEvent;
const partial = (utterance: number, settled: string, text: string) => ({ type: "partial", seq: 0, utterance, start_s: utterance, settled, text }) as LiveEvent;
const after = (...events: LiveEvent[]): Words => events.reduce(hear, NO_WORDS);
const frame = (ms: number, value = 0) => new Uint8Array(ms * 32).fill(value).buffer;

test("settled words stay, loose ones are replaced, the final takes their place", () => {
  const words = after(partial(0, "", "ask"), partial(0, "ask not", "what you"), partial(0, "what", "your country"));
  expect(words.open).toEqual([{ utterance: 0, startS: 0, settled: "ask not what", loose: "your country" }]);
  const done = hear(words, final(0, "seg_1", "Ask not what your country"));
  expect([done.open, done.finals.map((each) => each.text)]).toEqual([[], ["Ask not what your country"]]);
});

test("a final that is told again after a broken line stands once, in its place", () => {
  const words = after(final(0, "a", "one"), final(1, "b", "two"), final(0, "a", "One."));
  expect(words.finals.map((each) => each.text)).toEqual(["One.", "two"]);
});

test("speakers are told anew later; others stay", () => {
  const words = after(final(0, "a", "one"), final(1, "b", "two"), { type: "revise", seq: 0, segments: [{ segment_id: "b", speaker: "SPEAKER_01", name: "Özil" }] });
  expect(words.finals.map((each) => [each.speaker, each.name])).toEqual([["SPEAKER_00", undefined], ["SPEAKER_01", "Özil"]]);
});

test("a warning stays until it is over", () => {
  const late: LiveEvent = { type: "warning", seq: 0, code: "falling_behind", detail: "Late." };
  expect(after(late).warning).toBe("Late.");
  expect(after(late, { type: "warning", seq: 0, code: "caught_up", detail: "In time." }).warning).toBeNull();
});

test("sound waits until the server has it; after a break exactly the rest is sent", () => {
  const sound = new Unacked();
  for (let at = 0; at < 5; at++) sound.add(frame(100, at));
  sound.ack(200);
  expect([sound.waitingMs, sound.heardMs]).toEqual([300, 500]);
  const rest = sound.after(250);
  expect(rest.map((each) => each.byteLength / 32)).toEqual([50, 100, 100]);
  expect(new Uint8Array(rest[0] as ArrayBuffer)[0]).toBe(2);
});

test("a session that is gone on with counts from what the server has", () => {
  const sound = new Unacked();
  sound.add(frame(100));
  sound.ack(60_000);
  sound.add(frame(100));
  expect([sound.heardMs, sound.after(60_000).length]).toEqual([60_100, 1]);
});

test("it is bounded by how long the server waits", () => {
  const sound = new Unacked();
  sound.add(new ArrayBuffer((MOST_MS - 100) * 32));
  expect(sound.full).toBe(false);
  sound.add(frame(100));
  expect(sound.full).toBe(true);
});
