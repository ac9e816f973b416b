/** What keys and clicks do in the words. */
import { useRef, type KeyboardEvent, type MouseEvent, type RefObject } from "react";
import { elementOf, placeFrom, select, step } from "./caret";
import { nextUnsure, placeOf, wordAt, type WordIndex } from "./words";

/** Until a word that was brought into view is in the page. */
const DRAWN_MS = 80;

interface Caret {
  root: RefObject<HTMLDivElement | null>;
  index: WordIndex;
  setCursor: (word: number) => void;
  show: (word: number) => void;
  play: (word: number) => void;
  fix: (word: number | undefined) => void;
}

/** One place in the text for keys: arrows move it, Shift selects, Enter plays, E says a word otherwise. */
export function useCaret({ root, index, setCursor, show, play, fix }: Caret) {
  const anchor = useRef<number | null>(null);
  const reach = (word: number) => {
    const element = root.current && elementOf(root.current, placeOf(index, word));
    if (!element) return false;
    element.tabIndex = 0; // as it will be drawn once the cursor is there
    element.focus({ preventScroll: true });
    return true;
  };
  const go = (word: number) => {
    setCursor(word);
    show(word);
    if (!reach(word)) setTimeout(() => reach(word), DRAWN_MS);
  };
  const onKeyDown = (event: KeyboardEvent<HTMLDivElement>) => {
    const place = placeFrom(event.target as Node);
    if (!place || !(event.target as Element).matches(".word") || event.ctrlKey || event.metaKey || event.altKey) return;
    const from = wordAt(index, place);
    const handled = () => event.preventDefault();
    if (event.key === "Enter" || event.key === " ") return handled(), play(from);
    if (event.key.toLowerCase() === "e") return handled(), fix(from);
    if (event.key === "Tab") {
      const next = index.unsure.includes(from) ? nextUnsure(index, from, event.shiftKey ? -1 : 1) : undefined;
      return next === undefined ? undefined : (handled(), go(next));
    }
    const rightToLeft = getComputedStyle(event.target as Element).direction === "rtl";
    const to = step(index, from, event.key, rightToLeft);
    if (to === null) return;
    handled();
    anchor.current = event.shiftKey ? (anchor.current ?? from) : null;
    go(to);
    if (event.shiftKey && root.current) select(root.current, placeOf(index, anchor.current!), placeOf(index, to), to >= anchor.current!);
    else getSelection()?.removeAllRanges();
  };
  const onClick = (event: MouseEvent) => {
    const place = placeFrom(event.target as Node);
    if (!place || !(event.target as Element).closest(".word") || getSelection()?.isCollapsed === false) return;
    const word = wordAt(index, place);
    setCursor(word);
    reach(word);
    play(word);
  };
  /** Chromium selects nothing where the mouse goes down at the very beginning of something that can have the focus. */
  const onMouseDown = (event: MouseEvent) => {
    const word = (event.target as Element).closest<HTMLElement>(".word");
    if (!word?.hasAttribute("tabindex")) return;
    const was = word.tabIndex;
    word.removeAttribute("tabindex");
    addEventListener("mouseup", () => (word.tabIndex = was), { once: true });
  };
  const onDoubleClick = (event: MouseEvent) => {
    const place = (event.target as Element).closest(".word") && placeFrom(event.target as Node);
    if (!place) return;
    getSelection()?.removeAllRanges();
    fix(wordAt(index, place));
  };
  return { onKeyDown, onMouseDown, onClick, onDoubleClick };
}
