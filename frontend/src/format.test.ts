import { expect, test } from "vitest";
import { bytes, clock, left, speakerName, speakerHue, stage } from "./format";

test("clock counts minutes and hours", () => {
  expect([clock(0), clock(61.9), clock(3661), clock(-1)]).toEqual(["0:00", "1:01", "1:01:01", "0:00"]);
});

test("bytes have a unit that fits", () => {
  expect([bytes(0), bytes(999), bytes(1_536_000), bytes(4 * 2 ** 30)]).toEqual(["0 byte", "999 byte", "1.5 MB", "4.3 GB"]);
});

test("time left is rounded and may be unknown", () => {
  expect([left(0.2), left(59), left(120), left(null)]).toEqual(["about 1 s left", "about 59 s left", "about 2 min left", ""]);
});

test("stages have words, and unknown ones their own name", () => {
  expect([stage("asr"), stage("other")]).toEqual(["Writing down what was said", "other"]);
});

test("speakers without a name are counted from one", () => {
  expect([speakerName("SPEAKER_00"), speakerName("SPEAKER_11"), speakerName("Anna")]).toEqual(["Speaker 1", "Speaker 12", "Anna"]);
});

test("speakers keep their colour, one of eight, in any script", () => {
  expect([speakerHue("SPEAKER_00"), speakerHue("SPEAKER_09")]).toEqual([0, 1]);
  expect(speakerHue("Анна")).toBe(speakerHue("Анна"));
  expect(speakerHue("أحمد")).toBeLessThan(8);
});
