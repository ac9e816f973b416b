/** Voices that are known: list, enrol, name, merge, forget. */
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { client, data, type EnrolledSpeaker, type TranscriptSummary } from "../client";

export const SPEAKERS = ["speakers"] as const;
const HEARD_AT_ONCE = 100;

export const useSpeakers = () =>
  useQuery({
    queryKey: SPEAKERS,
    queryFn: async ({ signal }): Promise<EnrolledSpeaker[]> => (await data(client.GET("/transcription/speakers", { signal }))).data,
  });

/** The recordings in which somebody is heard, all of them. */
export async function heardIn(speakerId: string, signal?: AbortSignal): Promise<TranscriptSummary[]> {
  const all: TranscriptSummary[] = [];
  for (let cursor: string | undefined; ;) {
    const query = { speaker: speakerId, limit: HEARD_AT_ONCE, ...(cursor ? { cursor } : {}) };
    const page = await data(client.GET("/transcription/recent", { params: { query }, ...(signal ? { signal } : {}) }));
    all.push(...page.data);
    // The server also finds those in which somebody else has this as a name.
    if (!page.next_cursor) return all.filter((each) => spansOf(each, speakerId).length > 0);
    cursor = page.next_cursor;
  }
}

/** Under which labels somebody is heard in a recording, and for how long. */
export const spansOf = (recording: TranscriptSummary, speakerId: string) => (recording.speakers ?? []).filter((who) => who.speaker_id === speakerId);

export const useHeardIn = (speakerId: string) =>
  useQuery({ queryKey: [...SPEAKERS, speakerId, "heard"], queryFn: ({ signal }) => heardIn(speakerId, signal) });

export interface Sample {
  speakerId: string;
  name?: string;
  /** A file or what the microphone heard; or a speaker of a recording. */
  from: File | { transcriptId: string; label: string };
}

function formOf({ speakerId, name, from }: Sample): FormData {
  const form = new FormData();
  form.append("speaker_id", speakerId);
  if (name) form.append("name", name);
  if (from instanceof File) form.append("audio_file", from);
  else {
    form.append("transcript_id", from.transcriptId);
    form.append("label", from.label);
  }
  return form;
}

export function useEnrol() {
  const cache = useQueryClient();
  return useMutation({
    mutationFn: (sample: Sample) => data(client.POST("/transcription/enroll-speaker", { body: formOf(sample) as never, bodySerializer: (body) => body as never })),
    onSettled: () => cache.invalidateQueries({ queryKey: SPEAKERS }),
  });
}

const at = (speakerId: string) => ({ path: { speaker_id: speakerId } });

/** `preview` changes nothing and tells which recordings would carry the new name. */
export const renameSpeaker = (speakerId: string, name: string, preview = false) =>
  data(client.PATCH("/transcription/speakers/{speaker_id}", { params: at(speakerId), body: { name, preview } }));

export const forgetSpeaker = (speakerId: string) => client.DELETE("/transcription/speakers/{speaker_id}", { params: at(speakerId) });

export const undoNaming = (undoId: string) =>
  data(client.POST("/transcription/speakers/undo/{undo_id}", { params: { path: { undo_id: undoId } } }));

/**
 * In one recording, whoever is `from` becomes `to`, or nobody known where `to` is null. The id to take it back.
 * With `enroll` the voice of the recording is learnt as one of `to`.
 */
export async function handOver(recording: TranscriptSummary, from: string, to: { speaker_id?: string; name?: string } | null, enroll: boolean): Promise<string | null> {
  const path = { transcript_id: recording.transcript_id };
  const labels = spansOf(recording, from).map((who) => who.label);
  if (labels.length === 0) return null;
  const speakers = labels.map((label) => ({ label, ...to, enroll }));
  const changed = await data(client.POST("/transcription/{transcript_id}/speakers", { params: { path }, body: { speakers, relabel: [], preview: false } }));
  return changed.undo_id ?? null;
}
