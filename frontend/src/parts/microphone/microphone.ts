/** The microphone as 16 kHz PCM, 100 ms at a time, and in words why there is none. */
import worklet from "./capture.worklet.js?url";

export const RATE_HZ = 16_000;
export const BYTES_PER_MS = (RATE_HZ / 1000) * 2;

/** Each has its words in i18n `microphone:<kind>`. */
export type NoMicrophone = "denied" | "missing" | "busy" | "insecure" | "lost" | "failed";

export class MicrophoneError extends Error {
  constructor(readonly kind: NoMicrophone) {
    super(kind);
  }
}

interface Options {
  /** 16-bit little-endian PCM, mono, and how loud it is: the root mean square, 0 to 1. */
  onSound: (pcm: ArrayBuffer, level: number) => void;
  /** The device is gone: unplugged, or taken away in the browser. */
  onLost: () => void;
  /** True where the page itself speaks meanwhile. */
  echoCancellation?: boolean;
}

export interface Microphone {
  /** The name that the device gives itself. */
  name: string;
  /** The last sound has been told when it resolves. */
  close: () => Promise<void>;
}

const KINDS: Record<string, NoMicrophone> = {
  NotAllowedError: "denied", SecurityError: "denied", NotFoundError: "missing", OverconstrainedError: "missing",
  NotReadableError: "busy", AbortError: "busy",
};

async function device(echoCancellation: boolean): Promise<MediaStream> {
  if (!navigator.mediaDevices) throw new MicrophoneError("insecure"); // browsers hide it from pages without TLS
  try {
    return await navigator.mediaDevices.getUserMedia({
      audio: { echoCancellation, noiseSuppression: false, autoGainControl: true, channelCount: 1 },
    });
  } catch (error) {
    throw new MicrophoneError(KINDS[(error as DOMException).name] ?? "failed");
  }
}

/** The audio thread answers at once; a context that the browser has put to sleep does not. */
const LAST_MS = 500;
const WAKE_MS = 2000;
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Raises MicrophoneError. */
export async function openMicrophone({ onSound, onLost, echoCancellation = false }: Options): Promise<Microphone> {
  const stream = await device(echoCancellation);
  const context = new AudioContext({ latencyHint: "interactive" });
  const release = () => {
    stream.getTracks().forEach((track) => track.stop());
    if (context.state !== "closed") void context.close();
  };
  try {
    await context.audioWorklet.addModule(worklet);
    await Promise.race([context.resume(), pause(WAKE_MS)]);
    if (context.state !== "running") throw new Error("asleep"); // nobody has touched the page yet
  } catch {
    release();
    throw new MicrophoneError("failed");
  }
  const node = new AudioWorkletNode(context, "capture");
  context.createMediaStreamSource(stream).connect(node).connect(context.destination); // writes nothing: silence
  const [track] = stream.getAudioTracks();
  track?.addEventListener("ended", onLost);
  let ended: () => void = () => undefined;
  node.port.onmessage = ({ data }: MessageEvent<{ pcm: ArrayBuffer; level: number; last: boolean }>) => {
    if (data.pcm.byteLength) onSound(data.pcm, data.level);
    if (data.last) ended();
  };
  const close = async () => {
    track?.removeEventListener("ended", onLost);
    const over = new Promise<void>((resolve) => (ended = resolve));
    node.port.postMessage("end");
    await Promise.race([over, pause(LAST_MS)]);
    release();
  };
  return { name: track?.label ?? "", close };
}
