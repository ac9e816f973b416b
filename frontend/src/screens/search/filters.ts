/** What a search is narrowed down to. It stands in the address, so that back, reload and a link keep it. */
import type { components } from "../../api/schema";

export const TYPES = ["transcript", "fact", "note", "document"] as const;
const FILTERS = ["speaker", "type", "tag", "from", "to"] as const;
export type Filter = (typeof FILTERS)[number];
/** Dates are days as a date field has them: 2026-11-21. */
export type Asked = { q: string } & Record<Filter, string>;

const DAY = /^\d{4}-\d{2}-\d{2}$/;
const BEST = 20;

export function askedIn(address: Record<string, unknown>): Asked {
  const text = (key: string) => (typeof address[key] === "string" ? address[key] : "");
  return { q: text("q"), speaker: text("speaker"), type: text("type"), tag: text("tag"), from: text("from"), to: text("to") };
}

export const narrowed = (asked: Asked): Filter[] => FILTERS.filter((filter) => asked[filter]);

/** Midnight of a day here, `days` later; undefined for what is no day. */
function midnight(day: string, days = 0): string | undefined {
  if (!DAY.test(day)) return undefined;
  const [year, month, date] = day.split("-").map(Number) as [number, number, number];
  const moment = new Date(year, month - 1, date + days);
  return Number.isNaN(moment.getTime()) ? undefined : moment.toISOString();
}

/** As the server asks for it; the last day counts whole. */
export function request(asked: Asked): components["schemas"]["SearchRequest"] {
  const { q, speaker, type, tag } = asked;
  const [from, to] = [midnight(asked.from), midnight(asked.to, 1)];
  return {
    query: q, top_k: BEST, mode: "hybrid",
    ...(speaker ? { speakers: [speaker] } : {}), ...(type ? { types: [type] } : {}), ...(tag ? { tags: [tag] } : {}),
    ...(from ? { from } : {}), ...(to ? { to } : {}),
  };
}
