/** What is shown stands in the address, so that back, reload and links keep it. */
import { useNavigate, useSearch } from "@tanstack/react-router";
import type { Filters } from "./filters";

export type Address = Filters & { view?: string; memory?: string; state?: string; doc?: string; page?: string; at?: string; node?: string };
export const useAddress = () => useSearch({ strict: false }) as Address;

/** Changes some of the address and keeps the rest. */
export function useGo() {
  const navigate = useNavigate();
  const now = useAddress();
  return (change: Partial<Address>, replace = false) => void navigate({ to: "/memories", search: { ...now, ...change } as never, replace });
}

/** What is shown is said by `aria-current`, not by the link itself: to it "all" would be a part of every view. */
export const EXACT = { exact: true, includeSearch: true } as const;
