/** Questions to begin with, made of the user's own recordings. Pure. */
import type { TranscriptSummary } from "../../api/client";

export interface Suggestion {
  /** The key of its words in chat.json. */
  kind: "topic" | "speaker" | "recording";
  values: { topic?: string; name?: string; title?: string };
}

const MOST = 4;
const TELLING = 6;

/** The longest word of a text: rarely the matter itself, mostly near it. */
export function topic(preview: string): string | null {
  const words = [...new Intl.Segmenter(undefined, { granularity: "word" }).segment(preview)].filter((part) => part.isWordLike).map((part) => part.segment);
  const longest = words.reduce((best, word) => ([...word].length > [...best].length ? word : best), "");
  return [...longest].length >= TELLING ? longest : null;
}

function about(recording: TranscriptSummary): Suggestion[] {
  const { title, preview = "", speakers = [] } = recording;
  const name = speakers.find((speaker) => speaker.name)?.name;
  const found: Suggestion[] = [];
  if (name) found.push({ kind: "speaker", values: { name, title } });
  const matter = topic(preview);
  if (matter) found.push({ kind: "topic", values: { topic: matter } });
  found.push({ kind: "recording", values: { title } });
  return found;
}

/** One of each recording before a second of any. */
export function suggestions(recordings: readonly TranscriptSummary[]): Suggestion[] {
  const each = recordings.filter((recording) => recording.status === "completed" && recording.preview).slice(0, MOST).map(about);
  const rounds = Math.max(0, ...each.map((found) => found.length));
  return Array.from({ length: rounds }, (_, round) => each.flatMap((found) => found[round] ?? [])).flat().slice(0, MOST);
}
