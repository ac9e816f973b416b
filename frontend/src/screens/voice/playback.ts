/** The answer's sound, piece after piece without a gap; cut off at once when it must be. */
interface Piece {
  at: number;
  startMs: number;
  ms: number;
  node: AudioBufferSourceNode;
}

/** The first piece waits this long, so that the second is there in time. */
const LEAD_S = 0.06;

export class Playback {
  private pieces: Piece[] = [];
  private next = 0;
  private totalMs = 0;
  /** After a cut what is still on its way is not heard, until the next answer begins. */
  private silenced = false;
  private context: AudioContext | null = null;

  constructor(private readonly make: () => AudioContext = () => new AudioContext()) {}

  /** A new answer begins at 0 ms. */
  begin(): void {
    this.cut();
    this.totalMs = 0;
    this.silenced = false;
  }

  /** 16-bit little-endian, mono. */
  push(pcm: ArrayBuffer, rateHz: number): void {
    if (this.silenced) return;
    this.context ??= this.make();
    const context = this.context;
    const samples = new Int16Array(pcm);
    const buffer = context.createBuffer(1, Math.max(1, samples.length), rateHz);
    buffer.copyToChannel(Float32Array.from(samples, (each) => each / 32768), 0);
    const node = context.createBufferSource();
    node.buffer = buffer;
    node.connect(context.destination);
    const at = Math.max(this.next, context.currentTime + (this.next > context.currentTime ? 0 : LEAD_S));
    node.start(at);
    const ms = (samples.length / rateHz) * 1000;
    this.pieces.push({ at, startMs: this.totalMs, ms, node });
    this.totalMs += ms;
    this.next = at + ms / 1000;
  }

  /** How much of the answer was heard; where a piece came late, its silence does not count. */
  heardMs(): number {
    const now = this.context?.currentTime ?? 0;
    const piece = this.pieces.findLast(({ at }) => at <= now);
    return piece ? piece.startMs + Math.min(piece.ms, (now - piece.at) * 1000) : 0;
  }

  get sounding(): boolean {
    return this.context !== null && this.next > this.context.currentTime;
  }

  cut(): void {
    for (const { node } of this.pieces) {
      node.stop();
      node.disconnect();
    }
    this.pieces = [];
    this.next = 0;
    this.silenced = true;
  }

  close(): void {
    this.cut();
    void this.context?.close();
    this.context = null;
  }
}
