/** What was thrown away while it can still be taken back: lists leave it out, whatever they fetch meanwhile. */
import { useSyncExternalStore } from "react";
import { undoableLater } from "./UndoToast";

let hidden: ReadonlySet<string> = new Set();
const listeners = new Set<() => void>();

function change(next: ReadonlySet<string>): void {
  hidden = next;
  listeners.forEach((tell) => tell());
}

const subscribe = (tell: () => void) => {
  listeners.add(tell);
  return () => void listeners.delete(tell);
};

export const useHidden = (): ReadonlySet<string> => useSyncExternalStore(subscribe, () => hidden);

/** Gone from every list at once, from the server when nobody wanted it back; `done` once it has gone or come back. */
export function discard(id: string, message: string, commit: () => Promise<unknown>, done: () => unknown): void {
  const show = () => change(new Set([...hidden].filter((each) => each !== id)));
  undoableLater({
    message,
    hide: () => change(new Set([...hidden, id])),
    // It stays hidden: what no longer exists must not flash up before the list is fetched anew.
    commit: () => commit().then(() => void done()),
    restore: show,
  });
}
