/** What was fetched, kept while the tab lives. */
import { QueryClient } from "@tanstack/react-query";
import { Failure } from "./client";

const FRESH_MS = 10_000;
const TRIES = 2;

/** Asking again helps where nobody answered; it does not where the server said no. */
function again(count: number, error: Error): boolean {
  return count < TRIES && error instanceof Failure && (error.status === 0 || error.status >= 502);
}

export const cache = new QueryClient({ defaultOptions: { queries: { staleTime: FRESH_MS, retry: again } } });
