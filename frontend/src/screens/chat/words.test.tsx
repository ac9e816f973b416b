import { cleanup, configure, fireEvent, screen } from "@testing-library/react";
import i18next from "i18next";
import { afterEach, beforeAll, expect, test, vi } from "vitest";
import type { Citation } from "../../api/client";
import { show } from "../../parts/house.test-house";
import { AnswerCard } from "./Answer";
import { begun, type Answer, type Evidence } from "./answer";
import { asks } from "./Composer";
import { split } from "./split";
import { suggestions, topic } from "./suggestions";
import { Words } from "./Words";
import type { TranscriptSummary } from "../../api/client";

// A loaded machine may take its time.
configure({ asyncUtilTimeout: 20_000 });
vi.setConfig({ testTimeout: 40_000 });
beforeAll(() => i18next.loadNamespaces(["chat", "parts"]), 40_000);
afterEach(cleanup);
const cited: Citation = { memory_id: "mem_1", quote: "Ask not.", score: 1, related: false, transcript_id: "rec_1", start_s: 3, end_s: 4, speaker: "SPEAKER_00" };
const lead = "“Ask not.” [1]\n\nIn the words of tiny: ";
function words(own: string, evidence: Evidence[] = []) {
  const text = lead + own;
  return show(<Words text={text} parts={split(text, [cited])} citations={[cited]} evidence={evidence} />);
}

const EVIL = [
  "<script>window.hurt = 1</script>", "<img src=x onerror=window.hurt=1>", "![x](https://evil.example/p.png)", "[x](javascript:window.hurt=1)",
  "<a href='javascript:window.hurt=1'>x</a>", "<svg/onload=window.hurt=1>", "<iframe srcdoc='<script>window.hurt=1</script>'></iframe>", "[x](data:text/html,<script>1</script>)",
  "<style>*{display:none}</style>", "`<img src=x onerror=window.hurt=1>`", "[x]: javascript:window.hurt=1\n[x]", "<form action=//evil.example><input name=q></form>",
];

test.each(EVIL)("what a model writes stays text: %s", async (evil) => {
  words(`Safe ${evil}`);
  await screen.findByText(/Safe/);
  expect(document.querySelector("script, img, iframe, style, form, .chat-markdown svg, [onerror], [onload]")).toBeNull();
  expect([...document.querySelectorAll(".chat-markdown a")].every((link) => !/^(javascript|data):/i.test(link.getAttribute("href") ?? ""))).toBe(true);
  expect((window as { hurt?: number }).hurt).toBeUndefined();
});

test("each sentence carries its verdict, which opens what it rests on", async () => {
  const at = lead.length;
  const evidence: Evidence[] = [
    { sentence: "He asked.", start: at, end: at + 9, verdict: "supported", method: "words+numbers", score: 1, citation: 1 },
    { sentence: "At nine.", start: at + 10, end: at + 18, verdict: "contradicted", method: "words+numbers+embedding", score: 0.5, citation: 1, why: "time" },
  ];
  words("He asked. At nine.", evidence);
  await screen.findByRole("button", { name: "supported: show the evidence for “He asked.”" });
  fireEvent.click(screen.getByRole("button", { name: "contradicted: show the evidence for “At nine.”" }));
  await screen.findByText(/speaks against this sentence\. A time differs/);
  expect(screen.getByRole("button", { name: "[1] Speaker 1 at 0:03" })).toBeTruthy();
});

test.each([true, false])("what is only the nearest is shown as such, and an answer is not (%s)", async (related) => {
  const text = `${related ? "I found nothing in your memories that answers this. The nearest is:\n" : ""}“Ask not.” [1]`;
  const answer: Answer = { ...begun("key", "Why?", null, "msg_1"), text, citations: [{ ...cited, related }], state: "complete", model: "extractive" };
  show(<AnswerCard question="Why?" answer={answer} onAgain={() => undefined} />);
  await screen.findByRole("list", { name: related ? "The nearest that was found" : "Evidence" });
  expect(screen.queryAllByText(/nothing in your memories that answers/)).toHaveLength(related ? 1 : 0);
  expect(screen.queryAllByText(/made of quotations/)).toHaveLength(related ? 0 : 1);
});

test("a number in brackets plays its citation, an unknown one is text", async () => {
  words("As he said [1], not [7].");
  await screen.findByRole("button", { name: "Play source 1 from 0:03" });
  expect(document.querySelector(".chat-markdown")?.textContent).toBe("As he said [1], not [7].");
});

test("Enter asks, Shift-Enter does not; under a finger only the button does; never while a word is being composed", () => {
  const key = { key: "Enter", shiftKey: false, ctrlKey: false, metaKey: false, composing: false };
  expect([asks(key, false), asks({ ...key, shiftKey: true }, false), asks(key, true), asks({ ...key, ctrlKey: true }, true), asks({ ...key, composing: true }, false)])
    .toEqual([true, false, false, true, false]);
});

const recording = (title: string, preview: string, more: Partial<TranscriptSummary> = {}): TranscriptSummary =>
  ({ transcript_id: title, title, preview, status: "completed", created_at: "2026-11-21T10:00:00Z", ...more }) as TranscriptSummary;

test("suggestions come from recordings: one of each first, at most four, none without words", () => {
  const known = recording("call", "The plumber arrives tomorrow", { speakers: [{ label: "SPEAKER_00", name: "Ann" } as never] });
  const found = suggestions([known, recording("jfk", "my fellow Americans"), recording("empty", ""), recording("broken", "words and words", { status: "failed" })]);
  expect(found).toEqual([
    { kind: "speaker", values: { name: "Ann", title: "call" } }, { kind: "topic", values: { topic: "Americans" } },
    { kind: "topic", values: { topic: "tomorrow" } }, { kind: "recording", values: { title: "jfk" } },
  ]);
  expect([topic("so it is"), topic("")]).toEqual([null, null]);
});
