/** An answer in the making, event by event; and the same things of one that is stored. Pure. */
import type { Citation } from "../../api/client";
import type { Message } from "../../api/queries/conversations";
import type { components } from "../../api/schema";
import type { ServerEvent } from "../../api/stream";

export type Evidence = components["schemas"]["Evidence"];
export type Context = components["schemas"]["ContextUse"];
type Response = components["schemas"]["ChatResponse"];

/** working: being written. gone: the server no longer writes it; its conversation knows how it ended. */
export type State = "working" | "complete" | "cancelled" | "failed" | "gone";

export interface Answer {
  messageId: string | null;
  state: State;
  /** As the server names it while it works: searching, waiting, writing. */
  stage: string;
  /** Answers that are written before this one. */
  ahead: number | null;
  text: string;
  citations: Citation[];
  evidence: Evidence[];
  model: string | null;
  notice: string | null;
  context: Context | null;
  trouble: string | null;
}

export interface Draft extends Answer {
  key: string;
  question: string;
  conversationId: string | null;
  /** The number of the last event that was heard. */
  lastEvent: string | null;
  /** The line is broken and being mended. */
  mending: boolean;
}

const EMPTY: Answer = {
  messageId: null, state: "working", stage: "asking", ahead: null, text: "", citations: [], evidence: [], model: null, notice: null, context: null,
  trouble: null,
};

export function begun(key: string, question: string, conversationId: string | null, messageId: string | null = null): Draft {
  return { ...EMPTY, key, question, conversationId, messageId, lastEvent: null, mending: false };
}

function finished(draft: Draft, answer: Response): Draft {
  return {
    ...draft, state: "complete", text: answer.response, citations: answer.citations, evidence: answer.evidence ?? [], model: answer.model,
    notice: answer.notice ?? null, context: answer.context ?? draft.context,
  };
}

function told(draft: Draft, data: Record<string, unknown>): Draft {
  return {
    ...draft,
    stage: String(data.stage ?? draft.stage),
    ahead: data.stage === "waiting" && typeof data.ahead === "number" ? data.ahead : null,
    messageId: (data.message_id as string | undefined) ?? draft.messageId,
    conversationId: (data.conversation_id as string | undefined) ?? draft.conversationId,
    notice: (data.notice as string | undefined) ?? draft.notice,
  };
}

/** The draft after one more event. */
export function heard(before: Draft, { event, data, id }: ServerEvent): Draft {
  const draft = { ...before, lastEvent: id ?? before.lastEvent, mending: false };
  switch (event) {
    case "status": return told(draft, data);
    case "token": return { ...draft, text: draft.text + String(data.text) };
    case "citation": return { ...draft, citations: [...draft.citations, data as unknown as Citation] };
    case "evidence": return { ...draft, evidence: data.sentences as Evidence[] };
    case "context": return data.fitted ? { ...draft, context: data.fitted as Context } : draft;
    case "done": return finished(draft, data as unknown as Response);
    case "error": return { ...draft, state: "failed", trouble: String(data.detail) };
    default: return draft;
  }
}

export function stored(message: Message): Answer {
  const { message_id: messageId, content: text, citations = [], evidence = [], model = null, status = "complete" } = message;
  return { ...EMPTY, messageId, text, citations, evidence, model, state: status === "streaming" ? "gone" : status };
}

export interface Turn {
  key: string;
  question: string | null;
  answer: Answer | null;
}

/** A conversation as questions with their answers: what is stored, and what is being written. */
export function turnsOf(messages: readonly Message[], drafts: readonly Draft[]): Turn[] {
  const turns: Turn[] = [];
  const left = new Map(drafts.map((draft) => [draft.messageId ?? draft.key, draft]));
  for (const message of messages) {
    const last = turns.at(-1);
    if (message.role === "user") turns.push({ key: message.message_id, question: message.content, answer: null });
    else {
      const answer = answerOf(message, left.get(message.message_id));
      left.delete(message.message_id);
      if (last && !last.answer) last.answer = answer;
      else turns.push({ key: message.message_id, question: null, answer });
    }
  }
  for (const draft of left.values()) {
    const last = turns.at(-1);
    if (last && !last.answer && last.question === draft.question) last.answer = draft;
    else turns.push({ key: draft.key, question: draft.question, answer: draft });
  }
  return turns;
}

/** The stored one, with what only its stream told: the notice, and what there was no room for. */
function answerOf(message: Message, draft: Draft | undefined): Answer {
  if (!draft) return stored(message);
  if (draft.state !== "gone") return draft;
  return { ...stored(message), notice: draft.notice, context: draft.context };
}
