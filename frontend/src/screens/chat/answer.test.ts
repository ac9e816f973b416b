import { expect, test } from "vitest";
import type { Citation } from "../../api/client";
import type { Message } from "../../api/queries/conversations";
import { begun, heard, stored, turnsOf, type Draft, type Evidence } from "./answer";
import { marked, split, toUnits } from "./split";

const citation = (quote: string, more: Partial<Citation> = {}): Citation => ({ memory_id: "mem_1", quote, score: 1, related: false, ...more });
const message = (role: "user" | "assistant", id: string, content: string, more: Partial<Message> = {}): Message =>
  ({ message_id: id, role, content, created_at: "2026-11-21T10:00:00Z", status: "complete", ...more });
const tell = (draft: Draft, event: string, data: Record<string, unknown>, id?: string) => heard(draft, { event, data, id });

test("an answer grows by its events, and remembers the last one", () => {
  let draft = begun("k", "Why?", null);
  draft = tell(draft, "status", { stage: "searching", message_id: "msg_1", conversation_id: "cnv_1" }, "1");
  draft = tell(draft, "citation", { ...citation("Because.") }, "2");
  draft = tell(draft, "token", { text: "“Because.” [1]" }, "3");
  draft = tell(draft, "status", { stage: "waiting", ahead: 2 }, "4");
  expect(draft).toMatchObject({ messageId: "msg_1", conversationId: "cnv_1", text: "“Because.” [1]", ahead: 2, stage: "waiting", lastEvent: "4", state: "working" });
  draft = tell(draft, "status", { stage: "writing" }, "5");
  expect(draft.ahead).toBeNull();
});

test("what had no room is kept when the answer is done; an error ends it in the server's words", () => {
  const told = tell(begun("k", "Why?", "cnv_1"), "context", { fitted: { memories_left_out: 2, turns_left_out: 4 } });
  const response = { response: "All.", citations: [], evidence: [], model: "m", notice: null };
  expect(tell(told, "done", response)).toMatchObject({ state: "complete", text: "All.", context: { memories_left_out: 2 } });
  expect(tell(told, "error", { detail: "No room." })).toMatchObject({ state: "failed", trouble: "No room." });
  expect(tell({ ...told, mending: true }, "unheard of", {})).toMatchObject({ state: "working", mending: false });
});

test("stored messages and drafts are one conversation, nothing twice", () => {
  const messages = [message("user", "msg_1", "One?"), message("assistant", "msg_2", "First."), message("user", "msg_3", "Two?")];
  const draft = { ...begun("k", "Two?", "cnv_1", "msg_4"), text: "Sec" };
  const turns = turnsOf(messages, [draft]);
  expect(turns.map((turn) => [turn.question, turn.answer?.text])).toEqual([["One?", "First."], ["Two?", "Sec"]]);
  const done = turnsOf([...messages, message("assistant", "msg_4", "Second.")], [{ ...draft, state: "gone", notice: "Quoted." }]);
  expect(done.map((turn) => [turn.answer?.text, turn.answer?.notice])).toEqual([["First.", null], ["Second.", "Quoted."]]);
  expect(turnsOf([], [begun("k", "New?", null)]).map((turn) => turn.question)).toEqual(["New?"]);
});

test("an answer without its question, and a question without its answer, are both shown", () => {
  expect(turnsOf([message("assistant", "a", "Hello."), message("user", "b", "Lost?"), message("user", "c", "Again?")], [])).toMatchObject([
    { question: null, answer: { text: "Hello." } }, { question: "Lost?", answer: null }, { question: "Again?", answer: null },
  ]);
  expect(stored(message("assistant", "a", "", { status: "streaming" })).state).toBe("gone");
});

test("quotations are taken off before the model's own words", () => {
  const citations = [citation("Ask not.", { speaker: "SPEAKER_00", start_s: 3 }), citation("Page two.", { page: 2 }), citation("Added by the check.")];
  const text = "“Ask not.” — Speaker 1 at 0:03 in jfk before [2], which says otherwise [1]\n“Page two.” — in Lease in May on page 2 [2]\n\nIn the words of tiny: He asked: why. “Added by the check.”";
  const parts = split(text, citations);
  expect(parts.quotations.map(({ number, title }) => [number, title])).toEqual([[1, "jfk"], [2, "Lease in May"]]);
  expect([parts.model, parts.words, text.slice(parts.wordsAt)]).toEqual(["tiny", "He asked: why. “Added by the check.”", parts.words]);
});

test("an answer of words only, and one of quotations only", () => {
  expect(split("I found nothing.", [])).toMatchObject({ quotations: [], words: "I found nothing.", wordsAt: 0 });
  expect(split("“Ask not.” [1]", [citation("Ask not.")])).toMatchObject({ words: "", quotations: [{ number: 1, title: null }] });
  expect(split("“Ask not.” [1]\n\nIn the words of ti", [citation("Ask not.")]).words).toBe("");
});

test("the server counts characters, the page counts units", () => {
  const units = toUnits("a😀b");
  expect([0, 1, 2, 3].map(units)).toEqual([0, 1, 3, 4]);
});

test("each checked sentence gets its mark, after it and outside of its Markdown", () => {
  const lead = "“😀 Yes.” [1]\n\nIn the words of m: ";
  const text = `${lead}**One.** Two\ue000.`;
  const at = [...lead].length;
  const proof = (start: number, end: number): Evidence => ({ sentence: "", start: at + start, end: at + end, verdict: "supported", method: "words", score: 1 });
  const parts = split(text, [citation("😀 Yes.")]);
  const evidence = [{ ...proof(0, 0), start: 1, end: 7, method: "exact" }, proof(0, 8), proof(9, 14)];
  expect(marked(text, parts, evidence)).toBe("**One.** \ue0001\ue001 Two\ufffd. \ue0002\ue001");
});
