/** Which word is heard now, and whether the page keeps it in view. */
import { useCallback, useEffect, useRef, useState } from "react";
import { usePlayer } from "../../parts/MomentPlayer";
import { heardAt, type WordIndex } from "./words";

/** Calls back at each picture while the sound of this recording runs, and once after each jump. -1: nothing of it is loaded. */
export function useEachFrame(transcriptId: string, tell: (second: number) => void): void {
  const { audio, loaded, playing } = usePlayer();
  const mine = loaded?.transcriptId === transcriptId;
  const latest = useRef(tell);
  useEffect(() => void (latest.current = tell));
  useEffect(() => {
    const element = audio.current;
    if (!mine || !element) return latest.current(-1);
    let frame = 0;
    const now = () => latest.current(element.currentTime);
    const run = () => {
      now();
      frame = playing ? requestAnimationFrame(run) : 0;
    };
    run();
    for (const event of ["seeking", "timeupdate", "loadedmetadata"]) element.addEventListener(event, now);
    return () => {
      cancelAnimationFrame(frame);
      for (const event of ["seeking", "timeupdate", "loadedmetadata"]) element.removeEventListener(event, now);
    };
  }, [audio, mine, playing]);
}

/** The number of the word being heard, -1 where none is; a new number only when it changes. */
export function useHeard(transcriptId: string, index: WordIndex): number {
  const [heard, setHeard] = useState(-1);
  useEachFrame(transcriptId, (second) => setHeard(heardAt(index, second)));
  return heard;
}

const AWAY = new Set(["PageUp", "PageDown", "Home", "End", "ArrowUp", "ArrowDown"]);

/** True until the reader scrolls by wheel, finger, key or scroll bar; `resume` follows again. */
export function useFollow(): { follow: boolean; resume: () => void; yieldTo: () => void } {
  const [follow, setFollow] = useState(true);
  const yieldTo = useCallback(() => setFollow(false), []);
  const resume = useCallback(() => setFollow(true), []);
  useEffect(() => {
    const key = (event: KeyboardEvent) => {
      const typing = event.target instanceof Element && event.target.closest("input, textarea, select");
      if (AWAY.has(event.key) && !typing) yieldTo();
    };
    const bar = (event: PointerEvent) => event.clientX > document.documentElement.clientWidth && yieldTo();
    addEventListener("wheel", yieldTo, { passive: true });
    addEventListener("touchmove", yieldTo, { passive: true });
    addEventListener("keydown", key, true);
    addEventListener("pointerdown", bar);
    return () => {
      removeEventListener("wheel", yieldTo);
      removeEventListener("touchmove", yieldTo);
      removeEventListener("keydown", key, true);
      removeEventListener("pointerdown", bar);
    };
  }, [yieldTo]);
  return { follow, resume, yieldTo };
}
