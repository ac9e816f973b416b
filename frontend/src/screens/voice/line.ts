/** The line to the voice chat. A broken one is mended with the same conversation. */
import { Failure, socketUrl } from "../../api/client";
import { RATE_HZ } from "../../parts/microphone/microphone";
import type { Mode, VoiceEvent } from "./events";

const LONGEST_WAIT_MS = 8000;
const FINAL = [1000, 4400, 4401];
const LOCKED = 4423;

export type LineState = "connecting" | "open" | "broken" | "locked" | "ended";

interface Listener {
  event: (event: VoiceEvent) => void;
  sound: (pcm: ArrayBuffer) => void;
  state: (state: LineState, why: string | null) => void;
}

export class VoiceLine {
  private socket: WebSocket | null = null;
  private ready = false;
  private over = false;
  private tries = 0;
  private timer = 0;
  private why: string | null = null;

  constructor(private readonly mode: Mode, private readonly listener: Listener, private conversationId: string | null) {
    void this.connect();
  }

  /** Nothing is kept for a line that is broken: who speaks to nobody sees it. */
  send(pcm: ArrayBuffer): void {
    if (this.ready) this.socket?.send(pcm);
  }

  talk(on: boolean): void {
    this.say({ type: "talk", on });
  }

  flush(): void {
    this.say({ type: "flush" });
  }

  interrupt(): void {
    this.say({ type: "interrupt" });
  }

  close(): void {
    this.over = true;
    clearTimeout(this.timer);
    this.say({ type: "stop" });
    this.socket?.close(1000);
  }

  private say(message: object): void {
    if (this.ready) this.socket?.send(JSON.stringify(message));
  }

  private async connect(): Promise<void> {
    this.listener.state("connecting", null);
    try {
      const url = await socketUrl("/voice");
      if (!this.over) this.open(new WebSocket(url));
    } catch (error) {
      if (error instanceof Failure && error.status > 0 && error.status < 500) this.listener.state("ended", error.message);
      else this.again("broken");
    }
  }

  private open(socket: WebSocket): void {
    this.socket = socket;
    socket.binaryType = "arraybuffer";
    const conversation = this.conversationId && { conversation_id: this.conversationId };
    socket.onopen = () => socket.send(JSON.stringify({ type: "start", mode: this.mode, format: "pcm_s16le", sample_rate_hz: RATE_HZ, ...conversation }));
    socket.onmessage = ({ data }) => (data instanceof ArrayBuffer ? this.listener.sound(data) : this.hear(JSON.parse(data)));
    socket.onclose = ({ code }) => this.closed(code);
  }

  private hear(event: VoiceEvent): void {
    if (event.type === "ready") {
      this.ready = true;
      this.tries = 0;
      this.listener.state("open", null);
    }
    if (event.type === "thinking") this.conversationId = event.conversation_id;
    if (event.type === "error") this.why = event.detail;
    this.listener.event(event);
  }

  private closed(code: number): void {
    this.ready = false;
    this.socket = null;
    if (this.over) return;
    if (FINAL.includes(code)) this.listener.state("ended", this.why);
    else this.again(code === LOCKED ? "locked" : "broken");
  }

  private again(state: "broken" | "locked"): void {
    this.listener.state(state, this.why);
    this.timer = window.setTimeout(() => void this.connect(), Math.min(LONGEST_WAIT_MS, 1000 * 2 ** this.tries++));
  }
}
