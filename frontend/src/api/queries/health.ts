/** How the platform is. */
import { useQuery } from "@tanstack/react-query";
import type { PlatformHealth } from "../client";

const LOOK_MS = 15_000;

/** null where the server does not answer. */
export async function lookAtHealth(): Promise<PlatformHealth | null> {
  try {
    return await (await fetch("/health")).json();
  } catch {
    return null;
  }
}

export function useHealth() {
  return useQuery({ queryKey: ["health"], queryFn: lookAtHealth, refetchInterval: LOOK_MS, networkMode: "always" });
}
