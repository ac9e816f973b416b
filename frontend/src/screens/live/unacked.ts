/** Sound that the server has not yet put on its disk: sent again when a line breaks. */
import { BYTES_PER_MS } from "../../parts/microphone/microphone";

/** As long as the server waits for a lost client; 19 MB. */
export const MOST_MS = 600_000;

export class Unacked {
  private frames: { at: number; pcm: ArrayBuffer }[] = [];
  private end = 0;

  /** Milliseconds of sound heard so far. */
  get heardMs(): number {
    return this.end / BYTES_PER_MS;
  }

  get waitingMs(): number {
    return (this.end - (this.frames[0]?.at ?? this.end)) / BYTES_PER_MS;
  }

  get full(): boolean {
    return this.waitingMs >= MOST_MS;
  }

  add(pcm: ArrayBuffer): void {
    this.frames.push({ at: this.end, pcm });
    this.end += pcm.byteLength;
  }

  /** The server has so much; where it knows more than this page (a session gone on with), counting goes on from there. */
  ack(audioMs: number): void {
    const safe = audioMs * BYTES_PER_MS;
    this.end = Math.max(this.end, safe);
    this.frames = this.frames.filter(({ at, pcm }) => at + pcm.byteLength > safe);
  }

  /** What comes after so much sound; a frame that is there in part, in part. */
  after(audioMs: number): ArrayBuffer[] {
    const from = audioMs * BYTES_PER_MS;
    return this.frames.filter(({ at, pcm }) => at + pcm.byteLength > from).map(({ at, pcm }) => pcm.slice(Math.max(0, from - at)));
  }
}
