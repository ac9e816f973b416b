/** A stretch of a recording as a file of its own. */
import { audioBytes } from "../../api/upload";

const RATE = 16_000;
const HEADER = 44;
/** Longer ones would not fit into the memory of a phone once they are decoded. */
export const LONGEST_S = 3600;

/** 16-bit PCM in a RIFF file: the format of Microsoft's "Multimedia Programming Interface", 1991. */
export function wav(samples: Float32Array, rate: number): Blob {
  const view = new DataView(new ArrayBuffer(HEADER + samples.length * 2));
  const text = (at: number, word: string) => [...word].forEach((letter, n) => view.setUint8(at + n, letter.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, HEADER - 8 + samples.length * 2, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true); // length of the format
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // one channel
  view.setUint32(24, rate, true);
  view.setUint32(28, rate * 2, true); // bytes per second
  view.setUint16(32, 2, true); // bytes per sample
  view.setUint16(34, 16, true); // bits per sample
  text(36, "data");
  view.setUint32(40, samples.length * 2, true);
  samples.forEach((value, n) => view.setInt16(HEADER + n * 2, Math.round(Math.max(-1, Math.min(1, value)) * 32_767), true));
  return new Blob([view], { type: "audio/wav" });
}

/** All channels as one. */
export function mixed(channels: readonly Float32Array[], from: number, to: number): Float32Array {
  const out = new Float32Array(Math.max(0, Math.min(to, channels[0]?.length ?? 0) - from));
  for (const channel of channels) for (let n = 0; n < out.length; n++) out[n]! += channel[from + n]! / channels.length;
  return out;
}

export async function cut(id: string, startS: number, endS: number): Promise<Blob> {
  const sound = await new OfflineAudioContext(1, 1, RATE).decodeAudioData(await audioBytes(id));
  const channels = Array.from({ length: sound.numberOfChannels }, (_, n) => sound.getChannelData(n));
  return wav(mixed(channels, Math.floor(startS * RATE), Math.ceil(endS * RATE)), RATE);
}
