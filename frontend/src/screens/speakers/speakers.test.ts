import { expect, test, vi } from "vitest";
import { allOrNothing } from "./merging";
import { encodeWav } from "./wav";

test("a WAV has its header, its length and its samples, cut at full scale", () => {
  const bytes = encodeWav(Float32Array.of(0, 1, -1, 2, -0.5), 16_000);
  const view = new DataView(bytes.buffer);
  const word = (at: number) => String.fromCharCode(...bytes.slice(at, at + 4));
  expect([word(0), word(8), word(36)]).toEqual(["RIFF", "WAVE", "data"]);
  expect([view.getUint32(4, true), view.getUint32(24, true), view.getUint32(40, true)]).toEqual([46, 16_000, 10]);
  expect([0, 1, 2, 3, 4].map((at) => view.getInt16(44 + 2 * at, true))).toEqual([0, 32767, -32767, 32767, -16383]);
});

test("steps are taken back in the opposite order, those without a way back are left out", async () => {
  const undo = vi.fn(async (_id: string) => undefined);
  const back = await allOrNothing(["a", "b", "c"], async (item) => (item === "b" ? null : item), undo);
  expect(undo).not.toHaveBeenCalled();
  await back();
  expect(undo.mock.calls.map(([id]) => id)).toEqual(["c", "a"]);
});

test("where a step fails, those before it are taken back and the reason is kept", async () => {
  const undo = vi.fn(async (_id: string) => undefined);
  const step = async (item: string) => {
    if (item === "c") throw new Error("It is locked.");
    return item;
  };
  await expect(allOrNothing(["a", "b", "c", "d"], step, undo)).rejects.toThrow("It is locked.");
  expect(undo.mock.calls.map(([id]) => id)).toEqual(["b", "a"]);
});
