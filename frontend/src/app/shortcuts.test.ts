import { afterEach, expect, test, vi } from "vitest";
import { register } from "./shortcuts";

const gone: (() => void)[] = [];
const on = (keys: string, run: () => void) => gone.push(register({ keys, label: keys, run }));
const press = (key: string, target: EventTarget = document.body, more: KeyboardEventInit = {}) =>
  target.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...more }));

afterEach(() => {
  gone.splice(0).forEach((end) => end());
  document.body.innerHTML = "";
});

test("a key runs the newest that wants it, and none once that has gone", () => {
  const [old, fresh] = [vi.fn(), vi.fn()];
  on("j", old);
  on("j", fresh);
  press("j");
  gone.pop()?.();
  press("j");
  gone.pop()?.();
  press("j");
  expect([old.mock.calls.length, fresh.mock.calls.length]).toEqual([1, 1]);
});

test("letters belong to the field one types in, Ctrl-K does not", () => {
  const [letter, palette] = [vi.fn(), vi.fn()];
  on("j", letter);
  on("mod+k", palette);
  document.body.innerHTML = "<input>";
  const field = document.querySelector("input") as HTMLInputElement;
  press("j", field);
  press("k", field, { ctrlKey: true });
  expect([letter.mock.calls.length, palette.mock.calls.length]).toEqual([0, 1]);
});

test("space on a button presses the button", () => {
  const play = vi.fn();
  on(" ", play);
  document.body.innerHTML = "<button>a</button>";
  press(" ", document.querySelector("button") as HTMLButtonElement);
  expect(play).not.toHaveBeenCalled();
  press(" ");
  expect(play).toHaveBeenCalledOnce();
});
