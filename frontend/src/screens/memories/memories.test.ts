import { expect, test } from "vitest";
import { around } from "./DocumentText";
import { dayBegins, dayEnds, labelOf, passes, requestOf, rowOfHit, rowOfMemory, type Row } from "./filters";
import { layout } from "./map/layout";
import { localMoment, tagsOf } from "./MemoryForm";

const row = (more: Partial<Row> = {}): Row => ({ ...rowOfMemory({
  memory_id: "mem_1", content: "a", revision: 1, memory_type: "note", occurred_at: "2026-11-21T12:00:00Z", created_at: "2026-11-21T12:00:00Z", updated_at: "2026-11-21T12:00:00Z",
}), ...more });

test("without words nothing is asked of the search; with words all filters go along", () => {
  expect([requestOf({ tag: "a" }), requestOf({ q: "  " })]).toEqual([null, null]);
  expect(requestOf({ q: " rent ", type: "note", tag: "home", speaker: "Speaker 2", from: "2026-11-01", to: "2026-11-30" })).toEqual({
    query: "rent", top_k: 100, mode: "hybrid", types: ["note"], tags: ["home"], speakers: ["SPEAKER_01"], from: dayBegins("2026-11-01"), to: dayEnds("2026-11-30"),
  });
});

test("a day begins and ends where its reader lives", () => {
  expect(passes(row(), { from: "2026-11-23" })).toBe(false);
  expect(passes(row(), { to: "2026-11-19" })).toBe(false);
  expect(passes(row(), { from: "2026-11-19", to: "2026-11-23" })).toBe(true);
  expect(Date.parse(dayEnds("2026-11-21")) - Date.parse(dayBegins("2026-11-21"))).toBe(86_399_999);
});

test("a speaker is found by the name that is shown", () => {
  expect(labelOf("Speaker 1")).toBe("SPEAKER_00");
  expect(passes(row({ speaker: "SPEAKER_00" }), { speaker: "Speaker 1" })).toBe(true);
  expect(passes(row({ speaker: "Ann Özil" }), { speaker: "özil" })).toBe(true);
  expect(passes(row(), { speaker: "Ann" })).toBe(false);
});

test("a hit knows its page and place", () => {
  const hit = rowOfHit({ content: "c", score: 1, metadata: { memory_id: "m", memory_type: "document", created_at: "2026-11-21T12:00:00Z", document_id: "doc_1", page: 3, offset: 40 } });
  expect(hit).toMatchObject({ id: "m", documentId: "doc_1", page: 3, offset: 40, at: "2026-11-21T12:00:00Z" });
});

test("tags are words between commas, once each", () => {
  expect(tagsOf(" #home, rent ,, home、水 ")).toEqual(["home", "rent", "水"]);
});

test("a moment keeps its minute in the reader's time", () => {
  expect(new Date(localMoment("2026-11-21T12:34:00Z")).toISOString()).toBe("2026-11-21T12:34:00.000Z");
});

test("the place in a text is counted in characters, to the end of its paragraph", () => {
  expect(around("😀a\n\nhere it is\n\nafter", 4)).toEqual(["😀a\n\n", "here it is", "\n\nafter"]);
  expect(around("all", null)).toEqual(["all", "", ""]);
  expect(around("all", 99)).toEqual(["all", "", ""]);
});

test("the map: everything has a place, what is tied is nearer, and it looks the same twice", () => {
  const nodes = Array.from({ length: 40 }, (_, at) => ({ id: `n${at}`, kind: "note" as const, label: "" }));
  const edges = nodes.slice(1).map((node, at) => ({ source: `n${at}`, target: node.id, kind: "tagged" as const }));
  const places = layout({ nodes, edges: [...edges, { source: "n0", target: "gone", kind: "tagged" }] });
  const far = (a: string, b: string) => Math.hypot(places.get(a)!.x - places.get(b)!.x, places.get(a)!.y - places.get(b)!.y);
  expect([...places.values()].every(({ x, y }) => Number.isFinite(x) && Number.isFinite(y))).toBe(true);
  const tied = edges.reduce((sum, edge) => sum + far(edge.source, edge.target), 0) / edges.length;
  expect(tied).toBeLessThan(far("n0", "n39"));
  expect(layout({ nodes, edges }).get("n7")).toEqual(layout({ nodes, edges }).get("n7"));
});
