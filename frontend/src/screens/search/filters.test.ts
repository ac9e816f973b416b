import { expect, test } from "vitest";
import { askedIn, narrowed, request } from "./filters";

test("the address says what is asked; what is none of ours is left alone", () => {
  const asked = askedIn({ q: "key", speaker: "Özil", other: "x", type: 3 });
  expect(asked).toEqual({ q: "key", speaker: "Özil", type: "", tag: "", from: "", to: "" });
  expect(narrowed(asked)).toEqual(["speaker"]);
});

test("filters go to the server; the last day counts whole; what is no day is not sent", () => {
  const { from, to, ...rest } = request(askedIn({ q: "key", type: "note", tag: "home", from: "2026-11-01", to: "2026-11-01" }));
  expect(rest).toEqual({ query: "key", top_k: 20, mode: "hybrid", types: ["note"], tags: ["home"] });
  expect(Date.parse(to!) - Date.parse(from!)).toBe(86_400_000);
  expect(request(askedIn({ q: "key", from: "yesterday" }))).toEqual({ query: "key", top_k: 20, mode: "hybrid" });
});
