/** What the hardware does, live. */
import { useEffect, useState } from "react";
import type { GpuStatus } from "../client";
import { events } from "../stream";

const AGAIN_MS = 3000;

/** The picture now, and why there is none; after a break it is asked for again until the screen is left. */
export function useGpu(): { status: GpuStatus | null; trouble: string | null } {
  const [status, setStatus] = useState<GpuStatus | null>(null);
  const [trouble, setTrouble] = useState<string | null>(null);
  useEffect(() => {
    const abort = new AbortController();
    void watch(abort.signal, (next) => { setStatus(next); setTrouble(null); }, setTrouble);
    return () => abort.abort();
  }, []);
  return { status, trouble };
}

async function watch(signal: AbortSignal, tell: (status: GpuStatus) => void, fail: (why: string) => void): Promise<void> {
  while (!signal.aborted) {
    try {
      for await (const { event, data } of events("/gpu/events", { signal })) if (event === "status") tell(data as unknown as GpuStatus);
    } catch (error) {
      if (signal.aborted) return;
      fail((error as Error).message);
    }
    await new Promise((resume) => setTimeout(resume, AGAIN_MS));
  }
}
