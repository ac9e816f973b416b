/** Answers that are being written: they go on whichever screen is shown, and over a broken line. */
import { useQuery, useQueryClient, type QueryClient } from "@tanstack/react-query";
import { useMemo } from "react";
import { announce } from "../../app/announce";
import { Failure } from "../../api/client";
import { CONVERSATIONS, conversationKey, stopAnswer } from "../../api/queries/conversations";
import { events, type ServerEvent } from "../../api/stream";
import { begun, heard, type Draft } from "./answer";

/** With everything else that was fetched it goes when somebody signs out. */
const DRAFTS = ["answers-being-written"] as const;
const WAITS_MS = [500, 1000, 2000, 4000, 8000];
/** Ids of answers of this tab, by conversation: a reload before the answer is stored finds them again. */
const KEPT = "nemo-answering";

const kept = (): Record<string, string> => JSON.parse(sessionStorage.getItem(KEPT) ?? "{}") as Record<string, string>;
function keep({ conversationId, messageId, state }: Draft): void {
  if (!conversationId || !messageId) return;
  const { [conversationId]: _, ...others } = kept();
  sessionStorage.setItem(KEPT, JSON.stringify(state === "working" ? { ...others, [conversationId]: messageId } : others));
}
export const keptAnswer = (conversationId: string): string | undefined => kept()[conversationId];

const pause = (ms: number) =>
  new Promise<void>((resume) => {
    setTimeout(resume, ms);
    addEventListener("online", () => resume(), { once: true });
  });

const lost = (error: unknown) => !(error instanceof Failure) || error.status === 0 || error.status >= 502;

export class Answers {
  constructor(private readonly cache: QueryClient, private readonly words: { done: string }) {}

  private all = (): readonly Draft[] => this.cache.getQueryData<readonly Draft[]>(DRAFTS) ?? [];
  private find = (key: string) => this.all().find((draft) => draft.key === key);
  private put(next: (drafts: readonly Draft[]) => readonly Draft[]): void {
    this.cache.setQueryData(DRAFTS, next(this.all()));
  }
  private change(key: string, update: (draft: Draft) => Draft): void {
    this.put((drafts) => drafts.map((draft) => (draft.key === key ? update(draft) : draft)));
  }

  /** A question; the key of its answer, which streams in from now on. */
  ask(question: string, conversationId: string | null): string {
    return this.start(begun(crypto.randomUUID(), question, conversationId));
  }

  /** Goes on reading an answer that somebody asked for before this page was loaded. */
  resume(question: string, conversationId: string, messageId: string): void {
    if (this.all().some((draft) => draft.messageId === messageId)) return;
    this.start(begun(messageId, question, conversationId, messageId));
  }

  stop({ key, messageId }: Draft): void {
    if (messageId) void stopAnswer(messageId).catch(() => undefined);
    else this.change(key, (draft) => ({ ...draft, state: "cancelled" }));
  }

  /** Takes away one that never reached the server. */
  drop(key: string): void {
    this.put((drafts) => drafts.filter((draft) => draft.key !== key));
  }

  private start(draft: Draft): string {
    this.put((drafts) => [...drafts, draft]);
    void this.read(draft.key).finally(() => this.settle(draft.key));
    return draft.key;
  }

  private settle(key: string): void {
    const draft = this.find(key);
    if (!draft) return;
    keep(draft);
    if (draft.state === "complete") announce(this.words.done);
    void this.cache.invalidateQueries({ queryKey: CONVERSATIONS });
    void this.cache.invalidateQueries({ queryKey: conversationKey(draft.conversationId ?? undefined) });
  }

  /** Until it has ended; a line that breaks is mended from where it broke. */
  private async read(key: string): Promise<void> {
    for (let tries = 0; this.find(key)?.state === "working"; tries++) {
      try {
        for await (const event of source(this.find(key) as Draft)) {
          this.hear(key, event);
          tries = 0;
        }
        if (this.find(key)?.state === "working") throw new Failure("", 0); // the server went away in the middle
      } catch (error) {
        if (!this.mendable(key, error as Error)) return;
        await pause(WAITS_MS[Math.min(tries, WAITS_MS.length - 1)] ?? 0);
      }
    }
  }

  private hear(key: string, event: ServerEvent): void {
    this.change(key, (draft) => heard(draft, event));
    const draft = this.find(key);
    if (draft && event.event === "status") keep(draft);
  }

  private mendable(key: string, error: Error): boolean {
    const draft = this.find(key);
    if (!draft || draft.state !== "working") return false;
    if (draft.messageId && error instanceof Failure && error.status === 404) {
      this.change(key, (each) => ({ ...each, state: "gone", mending: false }));
      return false;
    }
    const again = draft.messageId !== null && lost(error);
    this.change(key, (each) => (again ? { ...each, mending: true } : { ...each, state: "failed", trouble: error.message }));
    return again;
  }
}

function source(draft: Draft): AsyncGenerator<ServerEvent> {
  if (draft.messageId) {
    const headers: HeadersInit = draft.lastEvent ? { "Last-Event-ID": draft.lastEvent } : {};
    return events(`/gemma/messages/${draft.messageId}/events`, { headers });
  }
  const body = { message: draft.question, stream: true, ...(draft.conversationId ? { conversation_id: draft.conversationId } : {}) };
  return events("/gemma/chat", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
}

export function useAnswers(done: string): { drafts: readonly Draft[]; answers: Answers } {
  const cache = useQueryClient();
  const answers = useMemo(() => new Answers(cache, { done }), [cache, done]);
  const { data = [] } = useQuery<readonly Draft[]>({ queryKey: DRAFTS, queryFn: () => [], enabled: false, gcTime: Infinity, initialData: [] });
  return { drafts: data, answers };
}
