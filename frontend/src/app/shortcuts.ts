/** Keys that do something, each with its name, so that `?` can list and Ctrl-K can run them. */
import { useEffect, useRef, useSyncExternalStore } from "react";

export interface Shortcut {
  /** As "mod+k", "?", "j": mod is Ctrl, or Cmd on a Mac. One letter does nothing while somebody types. */
  keys: string;
  label: string;
  run: () => void;
}

let all: readonly Shortcut[] = [];
const listeners = new Set<() => void>();

function change(next: readonly Shortcut[]): void {
  all = next;
  listeners.forEach((tell) => tell());
}

/** The newest registration of a key wins: a screen's over the shell's. */
export function register(shortcut: Shortcut): () => void {
  change([...all, shortcut]);
  return () => change(all.filter((each) => each !== shortcut));
}

/** While the component is shown, the keys do this. */
export function useShortcut(keys: string, label: string, run: () => void): void {
  const latest = useRef(run);
  useEffect(() => void (latest.current = run));
  useEffect(() => register({ keys, label, run: () => latest.current() }), [keys, label]);
}

export function useShortcuts(): readonly Shortcut[] {
  return useSyncExternalStore((tell) => {
    listeners.add(tell);
    return () => void listeners.delete(tell);
  }, () => all);
}

const typing = (target: EventTarget | null) =>
  target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));

export function keysOf(event: KeyboardEvent): string {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  return `${event.ctrlKey || event.metaKey ? "mod+" : ""}${event.altKey ? "alt+" : ""}${key}`;
}

/** Space and Enter belong to the button that has the focus. */
const taken = (event: KeyboardEvent) =>
  (event.key === " " || event.key === "Enter") && event.target instanceof Element && !!event.target.closest("button, a, summary, [role]");

export function onKey(event: KeyboardEvent): void {
  const keys = keysOf(event);
  if (event.defaultPrevented || taken(event) || (typing(event.target) && !keys.startsWith("mod+"))) return;
  if (document.querySelector("[role=dialog][aria-modal=true]")) return;
  const found = all.findLast((each) => each.keys === keys);
  if (!found) return;
  event.preventDefault();
  found.run();
}

if (typeof addEventListener === "function") addEventListener("keydown", onKey);
