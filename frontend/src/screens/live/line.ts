/** The line to the live stream: sound goes up, words come down, and a broken line is mended without losing either. */
import { Failure, socketUrl } from "../../api/client";
import { RATE_HZ } from "../../parts/microphone/microphone";
import type { LiveEvent } from "./events";
import { Unacked } from "./unacked";

const LONGEST_WAIT_MS = 8000;
const CLOSED = { refused: 4400, signedOut: 4401, taken: 4409, locked: 4423 };

export type LineState = "connecting" | "open" | "broken" | "locked" | "stopping" | "ended" | "lost";

export interface Session {
  transcriptId: string;
  resumeToken: string;
}

interface Listener {
  event: (event: LiveEvent) => void;
  state: (state: LineState, why: string | null) => void;
  /** Kept by the caller, so that a page that is loaded anew can go on. */
  session: (session: Session | null) => void;
}

export class Line {
  readonly sound = new Unacked();
  private socket: WebSocket | null = null;
  private ready = false;
  private over = false;
  private stopping = false;
  private tries = 0;
  private lastSeq = 0;
  private refusal: string | null = null;
  private timer = 0;

  /** `title` is that of a new recording. */
  constructor(private readonly listener: Listener, private readonly title: string, private session: Session | null = null) {
    addEventListener("online", this.hurry);
    void this.connect();
  }

  send(pcm: ArrayBuffer): void {
    this.sound.add(pcm);
    if (this.ready) this.socket?.send(pcm);
  }

  /** The utterance in hand is complete. */
  flush(): void {
    this.say({ type: "flush" });
  }

  /** No more sound comes; the state becomes `ended` with the last final. */
  stop(): void {
    if (this.over) return;
    this.stopping = true;
    this.listener.state("stopping", null);
    this.say({ type: "stop" });
  }

  private say(message: object): void {
    if (this.ready) this.socket?.send(JSON.stringify(message));
  }

  private async connect(): Promise<void> {
    this.listener.state("connecting", null);
    try {
      const url = await socketUrl("/transcription/stream");
      if (!this.over) this.open(new WebSocket(url));
    } catch (error) {
      if (error instanceof Failure && error.status > 0 && error.status < 500) this.lose(error.message);
      else this.again("broken");
    }
  }

  private open(socket: WebSocket): void {
    this.socket = socket;
    socket.binaryType = "arraybuffer";
    const how = this.session ? { resume_token: this.session.resumeToken, last_seq: this.lastSeq } : { title: this.title };
    socket.onopen = () => socket.send(JSON.stringify({ type: "start", format: "pcm_s16le", sample_rate_hz: RATE_HZ, channels: 1, ...how }));
    socket.onmessage = ({ data }) => this.hear(JSON.parse(data));
    socket.onclose = ({ code }) => this.closed(code);
  }

  private hear(event: LiveEvent): void {
    this.lastSeq = Math.max(this.lastSeq, event.seq);
    if (event.type === "ready") this.begin(event);
    if (event.type === "ack") this.sound.ack(event.audio_ms);
    if (event.type === "error") this.refusal = event.detail;
    this.listener.event(event);
    if (event.type !== "end") return;
    this.end();
    this.listener.session(null);
    this.listener.state("ended", null);
  }

  private begin(event: Extract<LiveEvent, { type: "ready" }>): void {
    this.session = { transcriptId: event.transcript_id, resumeToken: event.resume_token };
    this.listener.session(this.session);
    this.sound.ack(event.audio_ms);
    this.tries = 0;
    this.ready = true;
    for (const pcm of this.sound.after(event.audio_ms)) this.socket?.send(pcm);
    if (this.stopping) this.say({ type: "stop" });
    this.listener.state(this.stopping ? "stopping" : "open", null);
  }

  private closed(code: number): void {
    this.ready = false;
    this.socket = null;
    if (this.over) return;
    if (code === CLOSED.refused || code === CLOSED.signedOut || code === CLOSED.taken) this.lose(this.refusal);
    else this.again(code === CLOSED.locked ? "locked" : "broken");
  }

  private again(state: "broken" | "locked"): void {
    this.listener.state(state, this.refusal);
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => void this.connect(), Math.min(LONGEST_WAIT_MS, 500 * 2 ** this.tries++));
  }

  private readonly hurry = () => {
    if (this.over || this.socket) return;
    clearTimeout(this.timer);
    void this.connect();
  };

  private lose(why: string | null): void {
    this.end();
    this.listener.session(null);
    this.listener.state("lost", why);
  }

  private end(): void {
    this.over = true;
    clearTimeout(this.timer);
    removeEventListener("online", this.hurry);
  }
}
