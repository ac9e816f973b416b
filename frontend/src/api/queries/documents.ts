/** Documents: the list, one, its bytes, and away with it. */
import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { authorized, client, data, reason } from "../client";
import type { components } from "../schema";
import { MEMORIES } from "./memories";

export type Document = components["schemas"]["Document"];
const POLL_MS = 1500;
const path = (id: string) => ({ path: { document_id: id } });

/** The newest first; asked for again while one is being read. */
export function useDocuments() {
  return useInfiniteQuery({
    queryKey: [...MEMORIES, "documents"],
    initialPageParam: undefined as string | undefined,
    queryFn: ({ pageParam, signal }) =>
      data(client.GET("/rag/documents", { params: { query: { limit: 50, ...(pageParam && { cursor: pageParam }) } }, signal })),
    getNextPageParam: (page) => (page.has_more ? (page.next_cursor ?? undefined) : undefined),
    refetchInterval: (query) => (query.state.data?.pages.some((page) => page.data.some((each) => each.status === "processing")) ? POLL_MS : false),
  });
}

export function useDocument(id: string) {
  return useQuery({
    queryKey: [...MEMORIES, "document", id],
    queryFn: ({ signal }) => data(client.GET("/rag/documents/{document_id}", { params: path(id), signal })),
    refetchInterval: (query) => (query.state.data?.status === "processing" ? POLL_MS : false),
  });
}

/** The file as it came. */
export async function documentFile(id: string, signal?: AbortSignal): Promise<Blob> {
  const answer = await authorized(`/rag/documents/${id}/file`, { signal });
  if (!answer.ok) throw reason(await answer.json().catch(() => undefined), answer.status);
  return answer.blob();
}

export const removeDocument = (id: string) => client.DELETE("/rag/documents/{document_id}", { params: path(id) });
