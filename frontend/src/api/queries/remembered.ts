/** What was remembered out of one recording: facts that were heard in it, and notes that somebody kept from it. */
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { client, data } from "../client";
import type { components } from "../schema";

export type Fact = components["schemas"]["Fact"];
export type Memory = components["schemas"]["Memory"];

const PAGES = 10;
const key = (id: string) => ["remembered", id] as const;

/** A note carries the recording it was kept from as a tag, and its second as another. */
const AT = "at:";
const RECORDING = "rec_";

export const noteTags = (id: string, second: number): string[] => [id, `${AT}${second.toFixed(1)}`];

/** The recording and the second that a note was kept from; null for any other note. */
export function noteSource(tags: readonly string[]): { id: string; second: number } | null {
  const id = tags.find((each) => each.startsWith(RECORDING));
  const second = Number(tags.find((each) => each.startsWith(AT))?.slice(AT.length) ?? NaN);
  return id && Number.isFinite(second) ? { id, second } : null;
}

export const evidenceIn = (fact: Fact, id: string) => fact.evidence?.find((each) => each.transcript_id === id);

/** The server lists facts by their subject, not by recording: they are read through, newest first. */
async function factsOf(id: string, signal: AbortSignal): Promise<Fact[]> {
  const found: Fact[] = [];
  let cursor: string | undefined;
  for (let page = 0; page < PAGES; page++) {
    const query = { limit: 200, ...(cursor ? { cursor } : {}) };
    const answer = await data(client.GET("/rag/facts", { params: { query }, signal }));
    found.push(...answer.data.filter((fact) => (fact.state === "active" || fact.state === "pending") && evidenceIn(fact, id)));
    if (!answer.has_more || !answer.next_cursor) break;
    cursor = answer.next_cursor;
  }
  return found;
}

export function useRemembered(id: string) {
  return useQuery({
    queryKey: key(id),
    queryFn: async ({ signal }) => {
      const notes = data(client.GET("/rag/memories", { params: { query: { limit: 200, tag: id } }, signal }));
      return { facts: await factsOf(id, signal), notes: (await notes).data };
    },
  });
}

export function useRememberedAgain(id: string) {
  const cache = useQueryClient();
  return () => cache.invalidateQueries({ queryKey: key(id) });
}

type Kept = { facts: Fact[]; notes: Memory[] };

/** Gone from the list at once. */
export function useHide(id: string) {
  const cache = useQueryClient();
  return (memoryId: string) =>
    cache.setQueryData<Kept>(key(id), (was) => was && {
      facts: was.facts.filter((each) => each.memory_id !== memoryId), notes: was.notes.filter((each) => each.memory_id !== memoryId),
    });
}

const one = (memoryId: string) => ({ params: { path: { memory_id: memoryId } } });
export const remember = (body: { content: string; title: string; tags: string[]; occurred_at: string }) =>
  data(client.POST("/rag/memory", { body: { ...body, memory_type: "note" } }));
export const forget = (memoryId: string) => client.DELETE("/rag/memory/{memory_id}", one(memoryId));
export const acceptFact = (memoryId: string) => client.POST("/rag/facts/{memory_id}/accept", one(memoryId));
export const rejectFact = (memoryId: string) => client.POST("/rag/facts/{memory_id}/reject", one(memoryId));
export const undoFact = (memoryId: string) => client.POST("/rag/facts/{memory_id}/undo", one(memoryId));
