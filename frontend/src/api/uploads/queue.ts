/** All files on their way to the server, one after the other, whatever screen is shown. */
import { useSyncExternalStore } from "react";
import { cache } from "../cache";
import { Failure } from "../client";
import { RECORDINGS } from "../queries/recordings";
import { mostBytes, wrongWith, type Wrong } from "./check";
import * as shelf from "./shelf";
import type { Kept } from "./shelf";
import { begin, discard, expired, send, type Made } from "./tus";

export interface Sending {
  key: string;
  name: string;
  size: number;
  /** Bytes that are safe on the server. */
  offset: number;
  /** missing: after a closed tab the browser no longer has its bytes. elsewhere: another tab is at it. */
  state: "queued" | "sending" | "waiting" | "failed" | "missing" | "elsewhere";
  /** The server's words, or what is wrong with the file itself. */
  why?: string;
  wrong?: Wrong;
  /** The browser had no room for its bytes: with the tab they are gone. */
  unkept?: boolean;
}

type Ended = (name: string, made: Made) => void;

class Queue {
  private list: readonly Sending[] = [];
  private readonly files = new Map<string, Blob>();
  private readonly listeners = new Set<() => void>();
  private user: string | null = null;
  private running: { key: string; abort: AbortController } | null = null;
  private ended: Ended = () => undefined;

  readonly get = (): readonly Sending[] => this.list;
  readonly subscribe = (tell: () => void): (() => void) => {
    this.listeners.add(tell);
    return () => void this.listeners.delete(tell);
  };

  /** What this user left unfinished here goes on. */
  async open(user: string, ended: Ended): Promise<void> {
    this.close();
    this.user = user;
    this.ended = ended;
    await this.takeShelf();
  }

  /** Nobody is signed in: what is unfinished stays on the shelf for its owner. */
  close(): void {
    this.user = null;
    this.running?.abort.abort();
    this.files.clear();
    this.show([]);
  }

  /** What lies on the shelf and is not in the list yet: after a closed tab, and what other apps shared. */
  async takeShelf(): Promise<void> {
    const [user, most] = [this.user, await mostBytes()];
    for (const kept of await shelf.all()) {
      if (user === null || user !== this.user || (kept.user !== null && kept.user !== user) || this.find(kept.key)) continue;
      if (kept.user === null) await shelf.change(kept.key, { user });
      this.list = [...this.list, this.asSending(kept, most)];
    }
    this.show(this.list);
    void this.work();
  }

  private asSending(kept: Kept, most: number | null): Sending {
    const { key, name, size, offset, blob } = kept;
    if (blob) this.files.set(key, blob);
    const wrong = wrongWith(kept, most);
    if (wrong) {
      void shelf.remove(key); // told once
      return { key, name, size, offset, state: "failed", wrong };
    }
    return { key, name, size, offset, state: blob ? "queued" : "missing" };
  }

  async add(files: Iterable<File>): Promise<void> {
    const most = await mostBytes();
    for (const file of files) await this.addOne(file, most);
    void this.work();
  }

  private async addOne(file: File, most: number | null): Promise<void> {
    const { name, type, size, lastModified: modified } = file;
    const again = this.list.find((each) => each.state === "missing" && each.name === name && each.size === size);
    const key = again?.key ?? crypto.randomUUID();
    const wrong = wrongWith(file, most);
    if (wrong) return this.show([...this.list, { key, name, size, offset: 0, state: "failed", wrong }]);
    this.files.set(key, file);
    if (again) {
      void shelf.change(key, { blob: file });
      return this.change(key, { state: "queued" });
    }
    this.show([...this.list, { key, name, size, offset: 0, state: "queued" }]);
    const kept = await shelf.put({ key, user: this.user, name, type, size, modified, blob: file, url: null, offset: 0, added: Date.now() });
    if (!kept.blob) this.change(key, { unkept: true });
  }

  /** Out of sight, not yet off the server: `discard` or `restore` follows. */
  hide(key: string): void {
    if (this.running?.key === key) this.running.abort.abort();
    this.show(this.list.filter((each) => each.key !== key));
  }

  async discard(key: string): Promise<void> {
    const kept = await shelf.find(key);
    this.files.delete(key);
    await shelf.remove(key);
    if (kept?.url) await discard(kept.url);
  }

  restore(sending: Sending): void {
    this.show([...this.list, { ...sending, state: sending.wrong ? "failed" : "queued" }]);
    void this.work();
  }

  retry(key: string): void {
    this.change(key, { state: "queued", why: "" });
    void this.work();
  }

  private async work(): Promise<void> {
    if (this.running) return;
    const next = this.list.find((each) => each.state === "queued");
    if (!next) return;
    const abort = new AbortController();
    this.running = { key: next.key, abort };
    try {
      await this.alone(next.key, () => this.sendOne(next, abort.signal));
    } catch (error) {
      if (!abort.signal.aborted) this.change(next.key, { state: "failed", why: (error as Error).message });
    }
    this.running = null;
    void this.work();
  }

  /** Two tabs never send the same file: the second waits, and finds it done. */
  private async alone(key: string, act: () => Promise<void>): Promise<void> {
    if (!navigator.locks) return act();
    const free = await navigator.locks.request(`nemo-upload-${key}`, { ifAvailable: true }, async (lock) => {
      if (lock) await act();
      return lock !== null;
    });
    if (free) return;
    this.change(key, { state: "elsewhere" });
    void navigator.locks.request(`nemo-upload-${key}`, async () => {
      if (await shelf.find(key)) this.retry(key);
      else this.done(key);
    });
  }

  private async sendOne({ key, name, size }: Sending, signal: AbortSignal): Promise<void> {
    const kept = await shelf.find(key);
    const file = this.files.get(key) ?? kept?.blob;
    if (!file) return this.change(key, { state: "missing" });
    this.change(key, { state: "sending" });
    const telling = {
      moved: (offset: number) => {
        this.change(key, { offset });
        void shelf.change(key, { offset });
      },
      waiting: (yes: boolean) => this.change(key, { state: yes ? "waiting" : "sending" }),
    };
    const start = async () => {
      const url = await this.begun(key, { name, type: file.type, size }, signal);
      await shelf.change(key, { url });
      return url;
    };
    const made = await send(file, kept?.url ?? (await start()), signal, telling).catch(async (error) => {
      if (!expired(error)) throw error;
      return send(file, await start(), signal, telling);
    });
    await shelf.remove(key);
    this.done(key);
    this.ended(name, made);
    await cache.invalidateQueries({ queryKey: RECORDINGS });
  }

  /** Begins, and waits for a server that is away: nothing is known there yet, so asking twice does no harm. */
  private async begun(key: string, file: { name: string; type: string; size: number }, signal: AbortSignal): Promise<string> {
    for (;;) {
      try {
        return await begin(file, signal);
      } catch (error) {
        if (!(error instanceof Failure) || ![0, 502, 503, 504].includes(error.status)) throw error;
        this.change(key, { state: "waiting" });
        await new Promise((resume) => setTimeout(resume, 3000));
        signal.throwIfAborted();
      }
    }
  }

  private done(key: string): void {
    this.files.delete(key);
    this.show(this.list.filter((each) => each.key !== key));
  }

  private find(key: string): Sending | undefined {
    return this.list.find((each) => each.key === key);
  }

  private change(key: string, changes: Partial<Sending>): void {
    this.show(this.list.map((each) => (each.key === key ? { ...each, ...changes } : each)));
  }

  private show(list: readonly Sending[]): void {
    this.list = list;
    this.listeners.forEach((tell) => tell());
  }
}

export const queue = new Queue();

addEventListener("beforeunload", (event) => {
  if (queue.get().some((each) => each.unkept && each.state !== "failed")) event.preventDefault();
});

export const useSendings = (): readonly Sending[] => useSyncExternalStore(queue.subscribe, queue.get);
