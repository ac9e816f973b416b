/** The turns in view, and how to bring a word there. */
import { useWindowVirtualizer } from "@tanstack/react-virtual";
import { useCallback, useLayoutEffect, useRef, useState } from "react";
import { elementOf } from "./caret";
import type { Place } from "./words";

const TURN_PX = 96;
/** Until the rows that were scrolled to are in the page. */
const DRAWN_MS = 60;

export function useRows(count: number, keyOf: (row: number) => string) {
  const root = useRef<HTMLDivElement>(null);
  const [scrollMargin, setScrollMargin] = useState(0);
  useLayoutEffect(() => {
    const top = () => root.current && setScrollMargin(Math.round(root.current.getBoundingClientRect().top + scrollY));
    top();
    const watch = new ResizeObserver(top);
    watch.observe(document.body);
    return () => watch.disconnect();
  }, []);
  const rows = useWindowVirtualizer({ count, estimateSize: () => TURN_PX, overscan: 4, scrollMargin, getItemKey: keyOf });
  const latest = useRef(rows);
  latest.current = rows;
  const bring = useCallback((place: Place) => {
    const element = root.current && elementOf(root.current, place);
    if (element) return element.scrollIntoView({ block: "nearest" });
    latest.current.scrollToIndex(place.row, { align: "center" });
    setTimeout(() => root.current && elementOf(root.current, place)?.scrollIntoView({ block: "nearest" }), DRAWN_MS);
  }, []);
  return { root, rows, bring };
}
