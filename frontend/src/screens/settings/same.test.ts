import { expect, test } from "vitest";
import { same, typed } from "./same";

test("a code is the same whatever spaces, dashes and capitals were typed", () => {
  expect(same(" ab12 - CD34 ", "AB12-cd34")).toBe(true);
  expect(same("AB12CD34", "ab12–cd34")).toBe(true);
  expect(same("ab12-cd35", "ab12-cd34")).toBe(false);
  expect(same("", "")).toBe(false);
});

test("a name is typed to the letter", () => {
  expect(typed(" Özil ", "Özil")).toBe(true);
  expect(typed("O\u0308zil", "Özil")).toBe(true);
  expect(typed("özil", "Özil")).toBe(false);
  expect(typed("", "Özil")).toBe(false);
});
