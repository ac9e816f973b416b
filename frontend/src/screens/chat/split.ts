/** An answer taken apart: the quotations it begins with, and the model's own words, sentence by sentence. Pure. */
import type { Citation } from "../../api/client";
import type { Evidence } from "./answer";

/** services/gemma/prompts.py: neither a quotation nor a name can hold its empty line. */
const LEAD = "\n\nIn the words of ";
const TITLE = / in (.+?)(?: on page \d+)?(?: before \[\d+\], which says otherwise)? \[\d+\]$/;

export interface Quotation {
  citation: Citation;
  /** As it is numbered in the answer, from 1. */
  number: number;
  title: string | null;
}

export interface Parts {
  quotations: Quotation[];
  words: string;
  /** Where the words begin, in UTF-16 units. */
  wordsAt: number;
  /** Whose words they are. */
  model: string | null;
}

export function split(text: string, citations: readonly Citation[]): Parts {
  const lead = text.indexOf(LEAD);
  const head = lead < 0 ? text : text.slice(0, lead);
  const quotations = quoted(head, citations);
  if (lead < 0) return quotations.length ? { quotations, words: "", wordsAt: text.length, model: null } : { quotations, words: text, wordsAt: 0, model: null };
  const named = text.indexOf(": ", lead);
  const model = named < 0 ? null : text.slice(lead + LEAD.length, named);
  const wordsAt = named < 0 ? text.length : named + 2;
  return { quotations, words: text.slice(wordsAt), wordsAt, model };
}

/** Those that the answer begins with; others were added by the check. */
function quoted(head: string, citations: readonly Citation[]): Quotation[] {
  const found: Quotation[] = [];
  let at = 0;
  for (const [index, citation] of citations.entries()) {
    const start = head.indexOf(`“${citation.quote}”`, at);
    if (start < 0) continue;
    at = start + citation.quote.length + 2;
    const line = head.slice(at).split("\n", 1)[0] ?? "";
    found.push({ citation, number: index + 1, title: TITLE.exec(line)?.[1] ?? null });
  }
  return found;
}

/** The server counts characters, JavaScript counts halves of some of them. */
export function toUnits(text: string): (characters: number) => number {
  if (!/[\ud800-\udbff]/.test(text)) return (characters) => characters;
  const starts: number[] = [];
  let at = 0;
  for (const character of text) {
    starts.push(at);
    at += character.length;
  }
  return (characters) => starts[characters] ?? text.length;
}

/** Marks of ours in the model's text; where it has such characters itself, they are taken away first. */
const OPEN = "\ue000";
const CLOSE = "\ue001";
export const MARK = /\ue000(\d+)\ue001|\[(\d{1,3})\]/g;

/** The words with a mark behind each sentence that was checked: the number of its verdict in `evidence`. */
export function marked(text: string, { words, wordsAt }: Parts, evidence: readonly Evidence[]): string {
  const units = toUnits(text);
  const ends = evidence
    .map((each, number) => ({ number, end: units(each.end) - wordsAt, start: units(each.start) - wordsAt }))
    .filter(({ start, end }) => start >= 0 && end <= words.length)
    .sort((one, other) => other.end - one.end);
  let out = words.replace(/[\ue000\ue001]/g, "\ufffd");
  // A blank goes before it, so that what the sentence ends with ("**Yes.**") is still Markdown.
  for (const { number, end } of ends) out = `${out.slice(0, end)} ${OPEN}${number}${CLOSE}${out.slice(end)}`;
  return out;
}
