/** The words of a transcript by number: where each one stands, when it is heard, which are doubtful. */
import type { Segment } from "../../api/client";

/** Below this the model was guessing: such a word is underlined, and offered to be checked. */
export const UNSURE = 0.5;
/** A word is marked a moment before it begins, as a reader's eye is. */
const AHEAD_S = 0.05;

export interface Piece {
  word: string;
  /** What stands between it and the next: a space, nothing in Chinese. */
  gap: string;
  startS: number;
  endS: number;
  unsure: boolean;
}

const cache = new WeakMap<Segment, Piece[]>();

/** The words of a segment as its text has them; a text without timed words is one piece. */
export function pieces(segment: Segment): Piece[] {
  const known = cache.get(segment);
  if (known) return known;
  const made = cut(segment);
  cache.set(segment, made);
  return made;
}

function cut({ words, text, start_s, end_s }: Segment): Piece[] {
  if (!words?.length) return text ? [{ word: text, gap: "", startS: start_s, endS: end_s, unsure: false }] : [];
  const ends: number[] = [];
  let at = 0;
  for (const { word } of words) {
    const found = text.indexOf(word, at);
    if (found < 0) break; // the text was written otherwise: spaces will do
    ends.push((at = found + word.length));
  }
  const whole = ends.length === words.length;
  return words.map((word, n) => {
    const next = words[n + 1];
    const gap = !next ? "" : whole ? text.slice(ends[n], ends[n + 1]! - next.word.length) : " ";
    return { word: word.word, gap, startS: word.start_s, endS: word.end_s, unsure: word.confidence < UNSURE };
  });
}

/** The text of a segment with one word said otherwise; an empty word takes it out. */
export function replaceWord(segment: Segment, at: number, next: string): string {
  return pieces(segment).map((piece, n) => (n === at ? (next ? next + piece.gap : "") : piece.word + piece.gap)).join("").trim();
}

export interface Place {
  row: number;
  at: number;
}

/** All words in one line, by number. */
export interface WordIndex {
  count: number;
  /** The number of the first word of each row; one entry more than there are rows. */
  first: number[];
  /** Sorted beginnings in seconds, and which word each belongs to: voices may overlap. */
  starts: Float64Array;
  order: Int32Array;
  unsure: number[];
}

export function indexWords(segments: readonly Segment[]): WordIndex {
  const first = [0];
  const starts: number[] = [];
  const unsure: number[] = [];
  for (const segment of segments) {
    for (const piece of pieces(segment)) {
      if (piece.unsure) unsure.push(starts.length);
      starts.push(piece.startS);
    }
    first.push(starts.length);
  }
  const order = Int32Array.from(starts, (_, n) => n).sort((a, b) => starts[a]! - starts[b]! || a - b);
  return { count: starts.length, first, starts: Float64Array.from(order, (n) => starts[n]!), order, unsure };
}

/** How many of a sorted list are at most `value`. */
function upTo(list: ArrayLike<number>, value: number): number {
  let [low, high] = [0, list.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle]! <= value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The number of the word being heard at a second; -1 before the first one and where nothing plays. */
export function heardAt(index: WordIndex, second: number): number {
  if (second < 0) return -1;
  const before = upTo(index.starts, second + AHEAD_S);
  return before ? index.order[before - 1]! : -1;
}

export function placeOf(index: WordIndex, word: number): Place {
  const row = upTo(index.first, word) - 1;
  return { row, at: word - index.first[row]! };
}

export const wordAt = (index: WordIndex, { row, at }: Place): number => index.first[row]! + at;

/** The next doubtful word after (or, with step -1, before) this one; undefined where there is none. */
export function nextUnsure(index: WordIndex, from: number, step: 1 | -1): number | undefined {
  return step > 0 ? index.unsure.find((word) => word > from) : index.unsure.findLast((word) => word < from);
}
