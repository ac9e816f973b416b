/** How loud it is, ten times a second, without drawing the whole screen anew. */
import { useSyncExternalStore } from "react";

/** Quieter than this is an empty room, -50 dB of full scale. */
const ROOM_DB = -50;
const LOUD_DB = -8;

/** A root mean square as a share of the meter: hearing is logarithmic. */
export function shareOf(level: number): number {
  if (level <= 0) return 0;
  return Math.max(0, Math.min(1, (20 * Math.log10(level) - ROOM_DB) / (LOUD_DB - ROOM_DB)));
}

export class Level {
  private share = 0;
  private readonly listeners = new Set<() => void>();

  readonly set = (level: number): void => {
    this.share = shareOf(level);
    this.listeners.forEach((tell) => tell());
  };
  readonly get = (): number => this.share;
  readonly subscribe = (tell: () => void): (() => void) => {
    this.listeners.add(tell);
    return () => void this.listeners.delete(tell);
  };
}

export const useLevel = (level: Level): number => useSyncExternalStore(level.subscribe, level.get);
