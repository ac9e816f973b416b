import { expect, test } from "vitest";
import { clock, left, speakerName, speakerNumber, stage } from "./format";

test("clock counts minutes and hours", () => {
  expect([clock(0), clock(61.9), clock(3661), clock(-1)]).toEqual(["0:00", "1:01", "1:01:01", "0:00"]);
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

test("speakers keep their number", () => {
  expect([speakerNumber("SPEAKER_00"), speakerNumber("SPEAKER_07"), speakerNumber("Anna")]).toEqual([0, 1, 0]);
});
