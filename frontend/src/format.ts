/** Numbers and times as people read them. */

export function clock(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor((whole % 3600) / 60);
  const rest = String(whole % 60).padStart(2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

export function day(moment: string): string {
  return new Date(moment).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}

export function left(seconds: number | null | undefined): string {
  if (seconds == null) return "";
  return seconds < 60 ? `about ${Math.max(1, Math.round(seconds))} s left` : `about ${Math.round(seconds / 60)} min left`;
}

const STAGES: Record<string, string> = {
  queued: "Waiting for its turn",
  decode: "Reading the file",
  vad: "Finding where somebody speaks",
  asr: "Writing down what was said",
  diarization: "Telling the speakers apart",
  identification: "Looking for voices you know",
  emotion: "Listening for emotion",
  vault: "Putting it into your memory",
  done: "Done",
};

export function stage(name: string): string {
  return STAGES[name] ?? name;
}

/** Nobody has told us the name of SPEAKER_00: the first speaker. */
export function speakerName(label: string): string {
  const unknown = /^SPEAKER_(\d+)$/.exec(label);
  return unknown ? `Speaker ${Number(unknown[1]) + 1}` : label;
}

export function speakerNumber(label: string): number {
  return Number(/(\d+)$/.exec(label)?.[1] ?? 0) % 6;
}
