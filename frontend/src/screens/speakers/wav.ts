/** Sound of the microphone as a file that every server reads: mono WAV, 16 bit. */

export const RATE = 16_000;

/** Samples in [-1, 1] as RIFF WAVE (Microsoft and IBM, "Multimedia Programming Interface", 1991): PCM, one channel. */
export function encodeWav(samples: Float32Array, rate: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(44 + samples.length * 2);
  const view = new DataView(bytes.buffer);
  const word = (at: number, text: string) => [...text].forEach((letter, index) => view.setUint8(at + index, letter.charCodeAt(0)));
  word(0, "RIFF");
  view.setUint32(4, bytes.length - 8, true);
  word(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // channels
  view.setUint32(24, rate, true);
  view.setUint32(28, rate * 2, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  word(36, "data");
  view.setUint32(40, samples.length * 2, true);
  samples.forEach((sample, index) => view.setInt16(44 + index * 2, Math.round(Math.max(-1, Math.min(1, sample)) * 32767), true));
  return bytes;
}

/** Whatever the browser recorded, decoded by the browser. */
export async function wavOf(recorded: Blob): Promise<File> {
  const context = new OfflineAudioContext(1, 1, RATE);
  const decoded = await context.decodeAudioData(await recorded.arrayBuffer());
  return new File([encodeWav(mono(decoded), decoded.sampleRate)], "sample.wav", { type: "audio/wav" });
}

function mono(sound: AudioBuffer): Float32Array {
  const channels = Array.from({ length: sound.numberOfChannels }, (_, at) => sound.getChannelData(at));
  return Float32Array.from({ length: sound.length }, (_, at) => channels.reduce((sum, each) => sum + (each[at] ?? 0), 0) / channels.length);
}
