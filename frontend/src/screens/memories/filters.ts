/** What the list shows: the filters of the address, and the rows that pass them. Pure. */
import type { SearchHit } from "../../api/client";
import type { Memory, SearchRequest } from "../../api/queries/memories";
import { speakerName } from "../../format";

export interface Filters {
  q?: string;
  type?: string;
  tag?: string;
  speaker?: string;
  /** Days, as "2026-11-21". */
  from?: string;
  to?: string;
}

/** A memory or a passage that was found, as a card shows it. */
export interface Row {
  id: string;
  content: string;
  type: string;
  title: string | null;
  tags: string[];
  speaker: string | null;
  transcriptId: string | null;
  startS: number | null;
  endS: number | null;
  documentId: string | null;
  page: number | null;
  offset: number | null;
  at: string;
}

export const TYPES = ["note", "fact", "transcript", "document"] as const;
const MOST = 100;

export const rowOfMemory = (memory: Memory): Row => ({
  id: memory.memory_id, content: memory.content, type: memory.memory_type, title: memory.title ?? null, tags: memory.tags ?? [], speaker: memory.speaker ?? null,
  transcriptId: memory.transcript_id ?? null, startS: memory.start_s ?? null, endS: memory.end_s ?? null, documentId: null, page: null, offset: null,
  at: memory.occurred_at,
});

export const rowOfHit = ({ content, metadata: facts }: SearchHit): Row => ({
  id: facts.memory_id, content, type: facts.memory_type, title: facts.title ?? null, tags: facts.tags ?? [], speaker: facts.speaker ?? null,
  transcriptId: facts.transcript_id ?? null, startS: facts.start_s ?? null, endS: facts.end_s ?? null, documentId: facts.document_id ?? null,
  page: facts.page ?? null, offset: facts.offset ?? null, at: facts.occurred_at ?? facts.created_at,
});

/** The first moment of a day, and the last; in the time of the one who reads. */
export const dayBegins = (day: string) => new Date(`${day}T00:00:00`).toISOString();
export const dayEnds = (day: string) => new Date(`${day}T23:59:59.999`).toISOString();

const LABELS = Array.from({ length: 32 }, (_, at) => `SPEAKER_${String(at).padStart(2, "0")}`);

/** "Speaker 1" as the server knows it: nobody has told us the name of SPEAKER_00. */
export const labelOf = (speaker: string): string => LABELS.find((label) => speakerName(label) === speaker) ?? speaker;

export function requestOf({ q, type, tag, speaker, from, to }: Filters): SearchRequest | null {
  if (!q?.trim()) return null;
  return {
    query: q.trim(), top_k: MOST, mode: "hybrid", ...(type && { types: [type] }), ...(tag && { tags: [tag] }), ...(speaker && { speakers: [labelOf(speaker)] }),
    ...(from && { from: dayBegins(from) }), ...(to && { to: dayEnds(to) }),
  };
}

/** The server lists by type and tag; speaker and days are looked at here. */
export function passes(row: Row, { speaker, from, to }: Filters): boolean {
  const at = Date.parse(row.at);
  if (speaker && !row.speaker?.toLocaleLowerCase().includes(labelOf(speaker).toLocaleLowerCase())) return false;
  if (from && at < Date.parse(dayBegins(from))) return false;
  return !(to && at > Date.parse(dayEnds(to)));
}

export const narrowed = ({ speaker, from, to }: Filters): boolean => !!(speaker || from || to);
