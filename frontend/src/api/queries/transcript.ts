/** What belongs to one transcript: its sound as a picture, its summary, its history, and all that changes it. */
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { undoable } from "../../parts/UndoToast";
import { client, data, Failure, type Transcript } from "../client";
import type { components } from "../schema";
import { RECORDINGS } from "./recordings";

export type Summary = components["schemas"]["Summary"];
export type SummaryPoint = components["schemas"]["SummaryPoint"];
export type ActionItem = components["schemas"]["ActionItem"];
export type Coverage = components["schemas"]["Coverage"];
export type SummaryRequest = components["schemas"]["SummaryRequest"];
export type Revision = components["schemas"]["Revision"];
export type Waveform = components["schemas"]["Waveform"];
export type SpeakersAssigned = components["schemas"]["SpeakersAssigned"];
export type AssignSpeakers = components["schemas"]["AssignSpeakers"];

const POINTS = 1200;
const path = (id: string) => ({ path: { transcript_id: id } });
const summaryOf = (id: string) => ["summary", id] as const;
const revisionsOf = (id: string) => ["revisions", id] as const;

export function usePeaks(id: string, ready: boolean) {
  return useQuery({
    queryKey: ["peaks", id],
    enabled: ready,
    staleTime: Infinity,
    queryFn: ({ signal }) =>
      data(client.GET("/transcription/{transcript_id}/peaks", { params: { ...path(id), query: { points: POINTS } }, signal })),
  });
}

/** null where nobody has asked for one yet. */
export function useSummary(id: string) {
  return useQuery({
    queryKey: summaryOf(id),
    queryFn: async ({ signal }): Promise<Summary | null> => {
      try {
        return await data(client.GET("/transcription/{transcript_id}/summary", { params: path(id), signal }));
      } catch (error) {
        if (error instanceof Failure && error.status === 404) return null;
        throw error;
      }
    },
  });
}

/** The summary, or the job that makes it. */
export async function summarise(id: string, body: SummaryRequest) {
  const answer = await data(client.POST("/transcription/{transcript_id}/summary", { params: { ...path(id), query: { wait_s: 0 } }, body }));
  return answer as Summary | { job_id: string };
}

export function useRevisions(id: string, revision: number) {
  return useQuery({
    queryKey: [...revisionsOf(id), revision],
    queryFn: ({ signal }) => data(client.GET("/transcription/{transcript_id}/revisions", { params: path(id), signal })),
  });
}

export function useKnownSpeakers() {
  return useQuery({
    queryKey: ["speakers", "known"],
    queryFn: ({ signal }) => data(client.GET("/transcription/speakers", { signal })),
  });
}

export const assignSpeakers = (id: string, body: AssignSpeakers) =>
  data(client.POST("/transcription/{transcript_id}/speakers", { params: path(id), body }));

export const takeBackNames = (undoId: string) =>
  data(client.POST("/transcription/speakers/undo/{undo_id}", { params: { path: { undo_id: undoId } } }));

const revert = (id: string, to: number, now?: number) =>
  data(client.POST("/transcription/{transcript_id}/revert", { params: { ...path(id), ...ifStill(now) }, body: { revision: to } }));

/** Only if nobody changed it since: two tabs do not overwrite each other. */
const ifStill = (revision?: number) => (revision === undefined ? {} : { header: { "if-match": `W/"${revision}"` } });

/** The calls that change a transcript; each answers with the whole of it. */
export function edits({ transcript_id: id, revision }: Transcript) {
  const at = (segmentId: string) => ({ params: { path: { transcript_id: id, segment_id: segmentId }, ...ifStill(revision) } });
  return {
    segment: (segmentId: string, body: components["schemas"]["EditSegment"]) =>
      data(client.PATCH("/transcription/{transcript_id}/segments/{segment_id}", { ...at(segmentId), body })),
    split: (segmentId: string, word: number) =>
      data(client.POST("/transcription/{transcript_id}/segments/{segment_id}/split", { ...at(segmentId), body: { at_word: word } })),
    merge: (segmentId: string) =>
      data(client.POST("/transcription/{transcript_id}/segments/{segment_id}/merge", { ...at(segmentId), body: { force: true } })),
    details: (body: components["schemas"]["EditTranscript"]) =>
      data(client.PATCH("/transcription/{transcript_id}", { params: { ...path(id), ...ifStill(revision) }, body })),
    revert: (to: number) => revert(id, to, revision),
  };
}

/** The new state into what is shown; what was derived from the old one is asked for again. */
export function useKeep(id: string) {
  const cache = useQueryClient();
  return (changed: Transcript) => {
    cache.setQueryData(["recording", id], changed);
    for (const queryKey of [revisionsOf(id), summaryOf(id), RECORDINGS]) void cache.invalidateQueries({ queryKey });
  };
}

/** A change that a click takes back, by a revert of the server. True where it was made. */
export function useChange(transcript: Transcript) {
  const cache = useQueryClient();
  const id = transcript.transcript_id;
  const keep = useKeep(id);
  const before = transcript.revision ?? 1;
  return async (message: string, call: () => Promise<Transcript>): Promise<boolean> => {
    let changed: Transcript | undefined;
    await undoable({
      message,
      action: async () => {
        try {
          keep((changed = await call()));
        } catch (error) {
          if (error instanceof Failure && error.status === 412) void cache.invalidateQueries({ queryKey: ["recording", id] });
          throw error;
        }
      },
      undo: async () => keep(await revert(id, before, changed?.revision)),
    });
    return changed !== undefined;
  };
}
