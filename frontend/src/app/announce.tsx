/** What a screen reader is told although nothing takes the focus: `announce("Saved")`. */
import { useSyncExternalStore } from "react";

let text = "";
const listeners = new Set<() => void>();

export function announce(next: string): void {
  // The same words twice are told twice: a space makes them new.
  text = next === text ? `${next}\u00a0` : next;
  listeners.forEach((tell) => tell());
}

const subscribe = (tell: () => void) => {
  listeners.add(tell);
  return () => void listeners.delete(tell);
};

export function LiveRegion() {
  return <p className="hidden" role="status">{useSyncExternalStore(subscribe, () => text)}</p>;
}
