import { readFileSync } from "node:fs";
import { expect, test } from "vitest";

test("the demo of the page is the one of `nemo demo`", () => {
  expect(readFileSync("public/demo.ogg").equals(readFileSync("../services/cli/demo.ogg"))).toBe(true);
});
