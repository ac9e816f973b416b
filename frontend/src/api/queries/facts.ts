/** What the memory learnt by itself, and what its user says to that. */
import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { client, data } from "../client";
import type { components } from "../schema";
import { MEMORIES } from "./memories";

export type Fact = components["schemas"]["Fact"];
export type FactEvidence = components["schemas"]["FactEvidence"];
export type FactState = Fact["state"];
export type Decision = "accept" | "reject" | "release" | "undo";

const FACTS = [...MEMORIES, "facts"] as const;
const INBOX_FRESH_MS = 60_000;

export function useFacts(state: FactState) {
  return useInfiniteQuery({
    queryKey: [...FACTS, state],
    initialPageParam: undefined as string | undefined,
    queryFn: ({ pageParam, signal }) =>
      data(client.GET("/rag/facts", { params: { query: { limit: 50, state, ...(pageParam && { cursor: pageParam }) } }, signal })),
    getNextPageParam: (page) => (page.has_more ? (page.next_cursor ?? undefined) : undefined),
  });
}

export function useFact(id: string | null | undefined) {
  return useQuery({
    queryKey: [...FACTS, "one", id],
    enabled: !!id,
    queryFn: ({ signal }) => data(client.GET("/rag/facts/{memory_id}", { params: { path: { memory_id: id ?? "" } }, signal })),
  });
}

/** How many wait for a word of their user, up to 50. */
export function useInboxCount(): number {
  const { data: found } = useQuery({
    queryKey: [...FACTS, "inbox"],
    staleTime: INBOX_FRESH_MS,
    queryFn: ({ signal }) => data(client.GET("/rag/facts", { params: { query: { limit: 50, state: "pending" } }, signal })),
  });
  return found?.data.length ?? 0;
}

export function decide(id: string, decision: Decision): Promise<Fact> {
  const params = { path: { memory_id: id } };
  switch (decision) {
    case "accept": return data(client.POST("/rag/facts/{memory_id}/accept", { params }));
    case "reject": return data(client.POST("/rag/facts/{memory_id}/reject", { params }));
    case "release": return data(client.POST("/rag/facts/{memory_id}/release", { params }));
    case "undo": return data(client.POST("/rag/facts/{memory_id}/undo", { params }));
  }
}
