/** A recording as shapes: its sound, who speaks when, how it sounded. One unit of width is one point, or one second. */
import type { Segment } from "../../api/client";

/** The loudest point fills the height, however quiet the recording is; below this it is silence. */
const SILENT = 0.01;
/** Below this share the model was guessing (as EmotionBadge has it). */
export const SURE = 0.6;

/** One closed outline, from -1 (low) to 1, of all channels together: `peaks` has lowest, highest, lowest, ... per channel. */
export function outline(peaks: readonly (readonly number[])[]): string {
  const count = Math.floor((peaks[0]?.length ?? 0) / 2);
  if (!count) return "";
  const over = (at: number, pick: (...values: number[]) => number) => pick(...peaks.map((channel) => channel[at] ?? 0));
  const low = Array.from({ length: count }, (_, n) => over(2 * n, Math.min));
  const high = Array.from({ length: count }, (_, n) => over(2 * n + 1, Math.max));
  const loudest = Math.max(SILENT, ...low.map(Math.abs), ...high.map(Math.abs));
  const point = (value: number, n: number) => `${n} ${(-value / loudest).toFixed(3)}`;
  const above = high.map((value, n) => point(Math.max(value, SILENT * loudest), n));
  const below = low.map((value, n) => point(Math.min(value, -SILENT * loudest), n)).reverse();
  return `M${[...above, ...below].join("L")}Z`;
}

/** Each speaker's stretches as one path of bars, a unit high; in order of first speech. */
export function lanes(segments: readonly Segment[]): { label: string; path: string; turns: number; seconds: number }[] {
  const found = new Map<string, { label: string; path: string; turns: number; seconds: number }>();
  for (const { speaker, start_s, end_s } of segments) {
    const lane = found.get(speaker) ?? { label: speaker, path: "", turns: 0, seconds: 0 };
    const width = Math.max(0, end_s - start_s);
    lane.path += `M${start_s.toFixed(2)} 0h${width.toFixed(2)}v1h-${width.toFixed(2)}z`;
    lane.turns += 1;
    lane.seconds += width;
    found.set(speaker, lane);
  }
  return [...found.values()];
}

export interface Feeling {
  label: string;
  seconds: number;
  /** Of the speech that was judged, 0 to 1. */
  share: number;
  /** Of these seconds, how many the model was sure of. */
  sureS: number;
  /** The clearest moment. */
  best: Segment;
}

const sureness = (segment: Segment) => segment.emotion?.confidence ?? segment.emotion?.score ?? 0;
export const isSure = (segment: Segment): boolean => sureness(segment) >= SURE;

/** How much of the speech sounded how, the most first. */
export function feelings(segments: readonly Segment[]): Feeling[] {
  const found = new Map<string, Feeling>();
  let all = 0;
  for (const segment of segments) {
    if (!segment.emotion) continue;
    const { label } = segment.emotion;
    const seconds = segment.end_s - segment.start_s;
    const feeling = found.get(label) ?? { label, seconds: 0, share: 0, sureS: 0, best: segment };
    feeling.seconds += seconds;
    if (isSure(segment)) feeling.sureS += seconds;
    if (sureness(segment) > sureness(feeling.best)) feeling.best = segment;
    found.set(label, feeling);
    all += seconds;
  }
  return [...found.values()].map((each) => ({ ...each, share: all ? each.seconds / all : 0 })).sort((a, b) => b.seconds - a.seconds);
}
