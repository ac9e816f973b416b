/** Recordings: the timeline, one transcript, what changes them. */
import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { client, data, type Transcript } from "../client";

export const RECORDINGS = ["recordings"] as const;
const one = (id: string) => ["recording", id] as const;
const POLL_MS = 1500;

/** The newest first, a page at a time. */
export function useRecordings() {
  return useInfiniteQuery({
    queryKey: RECORDINGS,
    initialPageParam: undefined as string | undefined,
    queryFn: ({ pageParam, signal }) =>
      data(client.GET("/transcription/recent", { params: { query: { limit: 20, ...(pageParam ? { cursor: pageParam } : {}) } }, signal })),
    getNextPageParam: (page) => (page.has_more ? (page.next_cursor ?? undefined) : undefined),
  });
}

const pending = (transcript?: Transcript) => transcript?.status === "queued" || transcript?.status === "processing";

/** One transcript, asked for again while it is being made. */
export function useRecording(id: string) {
  return useQuery({
    queryKey: one(id),
    queryFn: ({ signal }) =>
      data(client.GET("/transcription/{transcript_id}", { params: { path: { transcript_id: id } }, signal })),
    refetchInterval: (query) => (pending(query.state.data) ? POLL_MS : false),
  });
}

export function removeRecording(id: string) {
  return client.DELETE("/transcription/{transcript_id}", { params: { path: { transcript_id: id } } });
}
