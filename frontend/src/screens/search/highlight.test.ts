import { expect, test } from "vitest";
import { highlight, terms } from "./highlight";

const marked = (text: string, query: string) => highlight(text, query).map((part) => (part.found ? `[${part.text}]` : part.text)).join("");

test("words are marked from their beginning, in any case", () => {
  expect(marked("Citizens of the country, my citizen!", "a citizen of Country")).toBe("[Citizens] of the [country], my [citizen]!");
  expect(marked("uncountable", "count")).toBe("uncountable");
});

test("other scripts, and what would be a pattern or a tag", () => {
  expect(marked("Der Fluß und die Straße", "straße")).toBe("Der Fluß und die [Straße]");
  expect(marked("我住在北京市", "北京")).toBe("我住在[北京]市");
  expect(marked("<img src=x onerror=alert(1)> (a+)+", "(a+)+ <img>")).toBe("<[img] src=x onerror=alert(1)> (a+)+");
  expect(terms("is a .*")).toEqual([]);
});
