/** Moving from word to word by keys, and finding the words of what is selected. */
import type { Place, WordIndex } from "./words";
import { placeOf, wordAt } from "./words";

/** The place of a word, which the gap after it belongs to; null for anything else. */
export function placeFrom(node: Node | null): Place | null {
  const element = node instanceof Element ? node : node?.parentElement;
  const before = node instanceof Text && node.previousSibling instanceof Element ? node.previousSibling : null;
  const word = element?.closest<HTMLElement>("[data-at]") ?? before?.closest<HTMLElement>("[data-at]");
  const row = word?.closest<HTMLElement>("[data-row]");
  return word && row ? { row: Number(row.dataset.row), at: Number(word.dataset.at) } : null;
}

export function elementOf(root: ParentNode, { row, at }: Place): HTMLElement | null {
  return root.querySelector<HTMLElement>(`[data-row="${row}"] [data-at="${at}"]`);
}

/** Where a key leads from a word; null where the key is none of ours. */
export function step(index: WordIndex, from: number, key: string, rightToLeft: boolean): number | null {
  const { row } = placeOf(index, from);
  const within = (word: number) => Math.min(index.count - 1, Math.max(0, word));
  const last = index.first.length - 2;
  if (key === "ArrowRight") return within(from + (rightToLeft ? -1 : 1));
  if (key === "ArrowLeft") return within(from + (rightToLeft ? 1 : -1));
  if (key === "ArrowDown") return within(index.first[Math.min(last, row + 1)]!);
  if (key === "ArrowUp") return within(index.first[Math.max(0, row - 1)]!);
  if (key === "Home") return index.first[row]!;
  if (key === "End") return index.first[row + 1]! - 1;
  return null;
}

export interface Selected {
  /** Numbers of the first and the last word. */
  from: number;
  to: number;
}

/** The words between both ends of what is selected, in reading order; null where an end is outside of the transcript. */
export function selectedWords(root: HTMLElement, index: WordIndex, selection: Selection | null): Selected | null {
  if (!selection || selection.isCollapsed || !root.contains(selection.anchorNode) || !root.contains(selection.focusNode)) return null;
  const ends = [placeFrom(selection.anchorNode), placeFrom(selection.focusNode)];
  if (!ends[0] || !ends[1]) return null;
  const [a, b] = [wordAt(index, ends[0]), wordAt(index, ends[1])];
  return { from: Math.min(a, b), to: Math.max(a, b) };
}

/** Selects from one word to another, both of them whole. */
export function select(root: HTMLElement, anchor: Place, focus: Place, forward: boolean): void {
  const [a, b] = [elementOf(root, anchor)?.firstChild, elementOf(root, focus)?.firstChild];
  if (!a || !b) return;
  const end = (node: Node) => node.textContent?.length ?? 0;
  getSelection()?.setBaseAndExtent(a, forward ? 0 : end(a), b, forward ? end(b) : 0);
}
