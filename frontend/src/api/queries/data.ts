/** All that a user has, as a whole: rules of retention, the archive out and in, and its end. */
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { authorized, client, data, reason, type ImportResult, type RetentionRules } from "../client";
import { sendFile } from "../upload";

const RETENTION = ["retention"] as const;

export const useRetention = () =>
  useQuery({ queryKey: RETENTION, queryFn: ({ signal }) => data(client.GET("/rag/retention", { signal })) });

export function useSetRetention() {
  const cache = useQueryClient();
  return useMutation({
    mutationFn: (rules: RetentionRules) => data(client.PUT("/rag/retention", { body: rules })),
    onSuccess: (found) => cache.setQueryData(RETENTION, found),
  });
}

/** Everything but the account; the tab forgets it too. */
export function useDeleteAll() {
  const cache = useQueryClient();
  return useMutation({ mutationFn: () => client.DELETE("/rag/all"), onSuccess: () => cache.resetQueries() });
}

/** The archive as one Blob; `moved` hears how many bytes came, and of how many where the server says. */
export async function exportArchive(audio: boolean, moved: (bytes: number, all: number | null) => void, signal: AbortSignal): Promise<Blob> {
  const answer = await authorized(`/rag/export?audio=${audio}`, { signal });
  if (!answer.ok || !answer.body) throw reason(await answer.json().catch(() => undefined), answer.status);
  const all = Number(answer.headers.get("Content-Length")) || null;
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let bytes = 0;
  for (const reader = answer.body.getReader(); ;) {
    const { done, value } = await reader.read();
    if (done) return new Blob(parts, { type: "application/zip" });
    parts.push(value);
    moved((bytes += value.length), all);
  }
}

/** `moved` hears the share that was sent, 0 to 1; the answer comes when the server has checked and merged all of it. */
export const importArchive = (file: File, moved: (share: number) => void, signal: AbortSignal) =>
  sendFile<ImportResult>("/rag/import", file, { moved, signal });
