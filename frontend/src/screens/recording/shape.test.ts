import { expect, test } from "vitest";
import type { Segment } from "../../api/client";
import { feelings, lanes, outline } from "./shape";

const segment = (speaker: string, start: number, end: number, label?: string, confidence = 0.9): Segment => ({
  segment_id: `${start}`, speaker, start_s: start, end_s: end, text: "", confidence: 1, channel: 0, overlap: false,
  emotion: label ? { label, score: confidence, confidence } : null,
});

test("the loudest point of all channels fills the height", () => {
  expect(outline([[-0.1, 0.2, -0.5, 0.4], [-0.2, 0.1, -0.1, 0.3]])).toBe("M0 -0.400L1 -0.800L1 1.000L0 0.400Z");
  expect(outline([[0, 0]])).toBe("M0 -0.010L0 0.010Z");
  expect(outline([])).toBe("");
});

test("each speaker has a lane, in order of first speech", () => {
  const found = lanes([segment("B", 1, 2), segment("A", 2, 4), segment("B", 4, 4.5)]);
  expect(found.map(({ label, turns, seconds }) => [label, turns, seconds])).toEqual([["B", 2, 1.5], ["A", 1, 2]]);
  expect(found[0]?.path).toBe("M1.00 0h1.00v1h-1.00zM4.00 0h0.50v1h-0.50z");
});

test("feelings by their share; guesses are told apart; the clearest moment is kept", () => {
  const [neutral, joy] = feelings([segment("A", 0, 6, "neutral"), segment("A", 6, 8, "joy", 0.3), segment("A", 8, 9, "joy", 0.8), segment("A", 9, 20)]);
  expect([neutral?.label, neutral?.share, joy?.label, joy?.seconds, joy?.sureS, joy?.best.start_s]).toEqual(["neutral", 6 / 9, "joy", 3, 1, 8]);
  expect(feelings([])).toEqual([]);
});
