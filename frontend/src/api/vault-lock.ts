/** Whether the vault is locked, learnt from any answer: 423 locks the page, unlocking opens it. */
import { useSyncExternalStore } from "react";

let locked = false;
let times = 0;
const listeners = new Set<() => void>();

export function setLocked(next: boolean): void {
  if (locked === next) return;
  locked = next;
  listeners.forEach((tell) => tell());
}

const subscribe = (tell: () => void) => {
  listeners.add(tell);
  return () => void listeners.delete(tell);
};

export const useLocked = (): boolean => useSyncExternalStore(subscribe, () => locked);

/** How often somebody locked it here: with each, what was on the page goes from its memory too. */
export const useTimesLocked = (): number => useSyncExternalStore(subscribe, () => times);

export function lockedHere(): void {
  times += 1;
  locked = true;
  listeners.forEach((tell) => tell());
}
