/** What the live stream says (docs/live.md), and what the page makes of it. */
export interface Final {
  segment_id: string;
  utterance: number;
  start_s: number;
  end_s: number;
  speaker: string;
  name?: string | null;
  text: string;
  confidence: number;
}

export type LiveEvent = { seq: number } & (
  | { type: "ready"; transcript_id: string; resume_token: string; resumed: boolean; audio_ms: number; partials: boolean }
  | { type: "vad"; state: "speech" | "silence"; at_s: number }
  | { type: "partial"; utterance: number; start_s: number; settled: string; text: string }
  | ({ type: "final" } & Final)
  | { type: "revise"; segments: { segment_id: string; speaker: string; name?: string | null }[] }
  | { type: "ack"; audio_ms: number }
  | { type: "warning"; code: string; detail: string; lag_s?: number | null }
  | { type: "error"; code: string; detail: string }
  | { type: "end"; transcript_id: string; job_id: string; duration_s: number }
);

/** What is being said: `settled` stays, `loose` may change. */
export interface Open {
  utterance: number;
  startS: number;
  settled: string;
  loose: string;
}

export interface Words {
  finals: Final[];
  open: Open[];
  speaking: boolean;
  /** What the server warns of, until it is over. */
  warning: string | null;
}

export const NO_WORDS: Words = { finals: [], open: [], speaking: false, warning: null };

const joined = (...parts: string[]) => parts.filter(Boolean).join(" ");

function partly(words: Words, { utterance, start_s: startS, settled, text }: Extract<LiveEvent, { type: "partial" }>): Words {
  const was = words.open.find((each) => each.utterance === utterance);
  const next = { utterance, startS, settled: joined(was?.settled ?? "", settled), loose: text };
  return { ...words, open: was ? words.open.map((each) => (each === was ? next : each)) : [...words.open, next] };
}

/** A final may come twice after a broken line: the newest counts. */
function finally_(words: Words, { type: _, ...final }: { type: string } & Final): Words {
  const others = words.finals.filter((each) => each.segment_id !== final.segment_id);
  const finals = [...others, final].sort((one, other) => one.start_s - other.start_s);
  return { ...words, finals, open: words.open.filter((each) => each.utterance > final.utterance) };
}

function revised(words: Words, { segments }: Extract<LiveEvent, { type: "revise" }>): Words {
  const labels = new Map(segments.map((each) => [each.segment_id, each]));
  return { ...words, finals: words.finals.map((each) => ({ ...each, ...labels.get(each.segment_id) })) };
}

export function hear(words: Words, event: LiveEvent): Words {
  if (event.type === "partial") return partly(words, event);
  if (event.type === "final") return finally_(words, event);
  if (event.type === "revise") return revised(words, event);
  if (event.type === "vad") return { ...words, speaking: event.state === "speech" };
  if (event.type === "warning") return { ...words, warning: event.code === "caught_up" ? null : event.detail };
  if (event.type === "ready" && event.resumed) return { ...words, open: [] }; // told anew
  if (event.type === "end") return { ...words, open: [], speaking: false };
  return words;
}
