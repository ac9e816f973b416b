/** What the voice chat says (docs/voice.md), and the turns that the page makes of it. */
import type { Citation } from "../../api/client";

export interface Sentence {
  text: string;
  /** Where in the answer's sound it begins. */
  at_ms: number;
}

export interface Turn {
  question: string;
  answer: string;
  citations: Citation[];
  sentences: Sentence[];
  state: "thinking" | "answering" | "done" | "interrupted";
  notice: string | null;
}

export type VoiceEvent = { seq: number } & (
  | { type: "ready"; mode: Mode; speak: boolean; conversation_id?: string | null }
  | { type: "vad"; state: "speech" | "silence" }
  | { type: "partial"; text: string }
  | { type: "transcript"; text: string; final: boolean }
  | { type: "thinking"; message_id: string; conversation_id: string }
  | { type: "token"; text: string }
  | { type: "citation"; citation: Citation }
  | { type: "audio"; sample_rate_hz: number }
  | ({ type: "sentence"; index: number } & Sentence)
  | { type: "done"; notice?: string | null; conversation_id: string }
  | { type: "interrupted"; by: string }
  | { type: "warning" | "error"; code: string; detail: string }
  | { type: "end"; conversation_id?: string | null }
);

export type Mode = "push" | "hands_free";

export interface Talk {
  turns: Turn[];
  /** The question so far. */
  hearing: string;
  speaking: boolean;
  conversationId: string | null;
  /** The last thing that the server warned of or could not do. */
  said: { code: string; detail: string; error: boolean } | null;
}

export const NO_TALK: Talk = { turns: [], hearing: "", speaking: false, conversationId: null, said: null };

function last(talk: Talk, change: (turn: Turn) => Turn): Talk {
  return { ...talk, turns: talk.turns.map((turn, at) => (at === talk.turns.length - 1 ? change(turn) : turn)) };
}

function asked(talk: Talk, question: string): Talk {
  const turn: Turn = { question, answer: "", citations: [], sentences: [], state: "thinking", notice: null };
  return { ...talk, hearing: "", said: null, turns: [...talk.turns, turn] };
}

export function hear(talk: Talk, event: VoiceEvent): Talk {
  switch (event.type) {
    case "vad": return { ...talk, speaking: event.state === "speech" };
    case "partial": return { ...talk, hearing: event.text };
    case "transcript": return event.final ? asked(talk, event.text) : { ...talk, hearing: event.text };
    case "thinking": return { ...talk, conversationId: event.conversation_id };
    case "token": return last(talk, (turn) => ({ ...turn, state: "answering", answer: turn.answer + event.text }));
    case "citation": return last(talk, (turn) => ({ ...turn, citations: [...turn.citations, event.citation] }));
    case "sentence": return last(talk, (turn) => ({ ...turn, sentences: [...turn.sentences, { text: event.text, at_ms: event.at_ms }] }));
    case "done": return last(talk, (turn) => ({ ...turn, state: "done", notice: event.notice ?? null }));
    case "interrupted": return last(talk, (turn) => ({ ...turn, state: "interrupted" }));
    case "error": return last({ ...talk, said: { ...event, error: true } }, (turn) => (turn.state === "done" ? turn : { ...turn, state: "interrupted" }));
    case "warning": return { ...talk, said: { ...event, error: false } };
    default: return talk;
  }
}

const WORD = /[\p{L}\p{N}]+(?:['’][\p{L}]+)?/gu;
const MARK = /\[\d+\]/g;

/** Where the sentence that sounds stands in the written answer: [from, to], or null where it cannot be found. */
export function placeOf(answer: string, sentence: string): [number, number] | null {
  const clear = answer.replace(MARK, (mark) => " ".repeat(mark.length));
  const written = [...clear.matchAll(WORD)];
  const spoken = [...sentence.matchAll(WORD)].map(([word]) => word.toLowerCase());
  if (spoken.length === 0) return null;
  const at = written.findIndex((_, start) => spoken.every((word, each) => written[start + each]?.[0].toLowerCase() === word));
  const [first, end] = [written[at], written[at + spoken.length - 1]];
  return first && end ? [first.index, end.index + end[0].length] : null;
}
