import { expect, test } from "vitest";
import { mixed, wav } from "./clip";

test("a clip is a wav file that says what is in it", async () => {
  const file = new DataView(await wav(new Float32Array([0, 1, -2]), 16_000).arrayBuffer());
  const word = (at: number) => String.fromCharCode(...[0, 1, 2, 3].map((n) => file.getUint8(at + n)));
  expect([word(0), word(8), word(36)]).toEqual(["RIFF", "WAVE", "data"]);
  expect([file.getUint32(4, true), file.getUint32(24, true), file.getUint32(40, true)]).toEqual([42, 16_000, 6]);
  expect([44, 46, 48].map((at) => file.getInt16(at, true))).toEqual([0, 32_767, -32_767]);
});

test("channels are mixed; an end past the last sample is the last sample", () => {
  expect([...mixed([new Float32Array([0, 1, 1]), new Float32Array([0, 0, 1])], 1, 9)]).toEqual([0.5, 1]);
  expect([...mixed([new Float32Array([0])], 5, 9)]).toEqual([]);
});
