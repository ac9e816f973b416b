/** What is remembered: search, the list, one memory, what changes them, and the state of it all. */
import { useInfiniteQuery, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { client, data, type SearchHit } from "../client";
import type { components } from "../schema";

export type Memory = components["schemas"]["Memory"];
export type NewMemory = components["schemas"]["NewMemory"];
export type SearchRequest = components["schemas"]["SearchRequest"];
export type Graph = components["schemas"]["Graph"];
type EditMemory = components["schemas"]["EditMemory"];

/** Everything below this key is stale once a memory, a fact or a document has come, changed or gone. */
export const MEMORIES = ["memories"] as const;
const PAGE = 100;
const path = (id: string) => ({ path: { memory_id: id } });

/** The newest first, of one type and with one tag where these are given. */
export function useMemories(type: string | undefined, tag: string | undefined, enabled: boolean) {
  return useInfiniteQuery({
    queryKey: [...MEMORIES, "list", type, tag],
    enabled,
    initialPageParam: undefined as string | undefined,
    queryFn: ({ pageParam, signal }) =>
      data(client.GET("/rag/memories", {
        params: { query: { limit: PAGE, ...(type && { memory_type: type }), ...(tag && { tag }), ...(pageParam && { cursor: pageParam }) } }, signal,
      })),
    getNextPageParam: (page) => (page.has_more ? (page.next_cursor ?? undefined) : undefined),
  });
}

/** The best hundred for a query within filters; null asks nothing. */
export function useSearchWithin(request: SearchRequest | null) {
  return useQuery({
    queryKey: [...MEMORIES, "search", request],
    enabled: request !== null,
    queryFn: ({ signal }): Promise<SearchHit[]> => data(client.POST("/rag/search", { body: request as SearchRequest, signal })),
  });
}

export function useMemory(id: string | undefined) {
  return useQuery({
    queryKey: [...MEMORIES, "one", id],
    enabled: id !== undefined,
    queryFn: ({ signal }) => data(client.GET("/rag/memory/{memory_id}", { params: path(id ?? ""), signal })),
  });
}

export function useStale(): () => Promise<void> {
  const cache = useQueryClient();
  return () => cache.invalidateQueries({ queryKey: MEMORIES });
}

export function useRemember() {
  const stale = useStale();
  return useMutation({ mutationFn: (body: NewMemory) => data(client.POST("/rag/memory", { body })), onSuccess: stale });
}

/** With the revision that was seen, so that nobody's change is written over. */
export const editMemory = (id: string, body: EditMemory, revision?: number) =>
  data(client.PATCH("/rag/memory/{memory_id}", {
    params: { ...path(id), header: revision === undefined ? {} : { "if-match": `W/"${revision}"` } }, body,
  }));

export const forgetMemory = (id: string) => client.DELETE("/rag/memory/{memory_id}", { params: path(id) });

export function useGraph(limit: number) {
  return useQuery({
    queryKey: [...MEMORIES, "graph", limit],
    queryFn: ({ signal }): Promise<Graph> => data(client.GET("/rag/graph", { params: { query: { limit } }, signal })),
  });
}

export function useAudit() {
  return useQuery({ queryKey: [...MEMORIES, "audit"], queryFn: ({ signal }) => data(client.GET("/rag/audit", { signal })) });
}

export function useRepair() {
  const stale = useStale();
  return useMutation({ mutationFn: () => data(client.POST("/rag/audit/repair", {})), onSuccess: stale });
}

/** A job that embeds everything anew. */
export function useRebuildIndex() {
  return useMutation({ mutationFn: () => data(client.POST("/rag/rebuild-index", {})) });
}
