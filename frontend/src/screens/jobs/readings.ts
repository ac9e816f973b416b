/** What a device's memory was since the screen was opened: the server tells the present only. */
import { useEffect, useRef, useState } from "react";
import type { GpuStatus } from "../../api/client";

export type DeviceStatus = GpuStatus["devices"][number];
export type HolderStatus = GpuStatus["holders"][number];

export interface Reading {
  /** Seconds since the epoch. */
  at: number;
  /** Used bytes by device. */
  used: Record<string, number>;
}

const MOST = 300;
const EVERY_MS = 1000;

export const isGpu = (device: DeviceStatus): boolean => device.kind !== "cpu";

/** A CPU's ledger counts what was promised; a GPU says itself what is free. */
export function usedBytes(device: DeviceStatus): number {
  return isGpu(device) ? Math.max(0, device.memory_total_bytes - device.memory_free_bytes) : device.reserved_bytes;
}

export function readingOf(status: GpuStatus, at: number): Reading {
  return { at, used: Object.fromEntries(status.devices.map((device) => [device.device_id, usedBytes(device)])) };
}

/** [seconds, bytes] of one device, as a chart wants them. */
export function readings(history: readonly Reading[], deviceId: string): [number[], number[]] {
  return [history.map((each) => each.at), history.map((each) => each.used[deviceId] ?? 0)];
}

/** The last five minutes at most, a reading a second. */
export function useReadings(status: GpuStatus): readonly Reading[] {
  const [history, setHistory] = useState<readonly Reading[]>([]);
  const latest = useRef(status);
  useEffect(() => void (latest.current = status), [status]);
  useEffect(() => {
    const take = () => setHistory((all) => [...all.slice(1 - MOST), readingOf(latest.current, Date.now() / 1000)]);
    take();
    const clock = setInterval(take, EVERY_MS);
    return () => clearInterval(clock);
  }, []);
  return history;
}
