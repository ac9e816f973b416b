/** Hold the button or the space bar and speak; a short press stays down until the next one, for those who cannot hold. */
import { useEffect, useRef } from "react";

const SHORT_MS = 350;

interface Press {
  talking: boolean;
  press: () => void;
  release: () => void;
}

const elsewhere = (target: EventTarget | null) =>
  target instanceof Element && target.closest("input, textarea, select, a, button:not(.talk), [role=menu], [role=dialog]") !== null;

export function usePushToTalk(active: boolean, { talking, press, release }: Press) {
  const since = useRef(0);
  const latest = useRef({ talking, press, release });
  useEffect(() => void (latest.current = { talking, press, release }));

  function down(): void {
    if (latest.current.talking) {
      since.current = -Infinity; // a second press ends it, however short
      return;
    }
    since.current = performance.now();
    latest.current.press();
  }
  function up(): void {
    if (latest.current.talking && performance.now() - since.current > SHORT_MS) latest.current.release();
  }

  useEffect(() => {
    if (!active) return;
    const key = (act: () => void) => (event: KeyboardEvent) => {
      if ((event.key !== " " && event.key !== "Enter") || elsewhere(event.target)) return;
      if (event.key === "Enter" && !(event.target as Element).closest(".talk")) return;
      event.preventDefault();
      if (!event.repeat) act();
    };
    const [pressed, released] = [key(down), key(up)];
    addEventListener("keydown", pressed, true);
    addEventListener("keyup", released, true);
    return () => {
      removeEventListener("keydown", pressed, true);
      removeEventListener("keyup", released, true);
    };
  }, [active]); // eslint-disable-line
  return { onPointerDown: down, onPointerUp: up, onPointerCancel: up };
}
