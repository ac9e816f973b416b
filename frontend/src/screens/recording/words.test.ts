import { expect, test } from "vitest";
import type { Segment } from "../../api/client";
import { heardAt, indexWords, nextUnsure, pieces, placeOf, replaceWord, wordAt } from "./words";

const segment = (text: string, words: [string, number, number?][], start = 0): Segment => ({
  segment_id: `seg_${start}`, speaker: "SPEAKER_00", start_s: start, end_s: start + 5, text, confidence: 0.9, channel: 0, overlap: false,
  words: words.map(([word, at, confidence = 0.9]) => ({ word, start_s: at, end_s: at + 0.3, confidence, aligned: true })),
});
const first = segment("And so, my", [["And", 0.3], ["so,", 0.9, 0.2], ["my", 1.4]]);
const second = segment("你好 吗", [["你", 2], ["好", 2.4], ["吗", 3, 0.1]], 2);

test("words keep what stands between them", () => {
  expect(pieces(first).map((each) => each.word + each.gap)).toEqual(["And ", "so, ", "my"]);
  expect(pieces(second).map((each) => each.word + each.gap)).toEqual(["你", "好 ", "吗"]);
});

test("words that the text does not have are parted by spaces; a text without words is one", () => {
  expect(pieces(segment("else", [["a", 0], ["b", 1]])).map((each) => each.gap)).toEqual([" ", ""]);
  expect(pieces(segment("all of it", [])).map((each) => each.word)).toEqual(["all of it"]);
  expect(pieces(segment("", []))).toEqual([]);
});

test("one word is said otherwise, or taken out", () => {
  expect(replaceWord(first, 1, "thus,")).toBe("And thus, my");
  expect(replaceWord(second, 1, "们")).toBe("你们 吗");
  expect(replaceWord(first, 0, "")).toBe("so, my");
  expect(replaceWord(first, 2, "")).toBe("And so,");
});

test("the word of a second, also where voices overlap", () => {
  const index = indexWords([first, second]);
  expect([-1, 0.1, 0.3, 1, 2.5, 99].map((at) => heardAt(index, at))).toEqual([-1, -1, 0, 1, 4, 5]);
  const overlapping = indexWords([segment("a c", [["a", 0], ["c", 4]]), segment("b", [["b", 2]], 2)]);
  expect([1, 3, 5].map((at) => heardAt(overlapping, at))).toEqual([0, 2, 1]);
});

test("a number is a place and back; a row without words is passed over", () => {
  const index = indexWords([first, segment("", [], 1.9), second]);
  expect(placeOf(index, 4)).toEqual({ row: 2, at: 1 });
  for (let word = 0; word < index.count; word++) expect(wordAt(index, placeOf(index, word))).toBe(word);
});

test("from one doubtful word to the next", () => {
  const index = indexWords([first, second]);
  expect([nextUnsure(index, -1, 1), nextUnsure(index, 1, 1), nextUnsure(index, 5, 1), nextUnsure(index, 5, -1), nextUnsure(index, 1, -1)])
    .toEqual([1, 5, undefined, 1, undefined]);
});
