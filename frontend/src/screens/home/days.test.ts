import { expect, test } from "vitest";
import { byDay, dateOf, nameOf } from "./days";

test("neighbours of one day stand together, in their order", () => {
  const items = ["2026-11-21T09:00:00", "2026-11-21T08:00:00", "2026-11-19T23:59:00"].map((created_at) => ({ created_at }));
  expect(byDay(items).map(({ date, items: own }) => [date, own.length])).toEqual([["2026-11-21", 2], ["2026-11-19", 1]]);
  expect(byDay([])).toEqual([]);
});

test("a day has the name that people give it", () => {
  const now = new Date("2026-03-01T12:00:00").getTime();
  expect(dateOf(now)).toBe("2026-03-01");
  expect(nameOf("2026-02-20", now)).toMatch(/Friday|20/);
  expect(nameOf("2026-02-20", now)).not.toMatch(/2026/);
  expect(nameOf("2025-12-31", now)).toMatch(/2025/);
  expect(nameOf("2026-03-01", now)).not.toBe(nameOf("2026-02-28", now));
});
