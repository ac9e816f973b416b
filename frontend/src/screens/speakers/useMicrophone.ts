/** The microphone for half a minute: how loud, how long, and at the end a WAV. */
import { useCallback, useEffect, useRef, useState } from "react";
import { wavOf } from "./wav";

export type Hearing = "off" | "asking" | "on" | "making" | "there";
export const MOST_S = 30;

interface Use {
  state: Hearing;
  /** Why the browser gave no microphone, by the name of its error. */
  refused: string | null;
  seconds: number;
  /** 0 to 1, the loudest of the last moment. */
  level: number;
  start: () => void;
  stop: () => void;
}

export function useMicrophone(onSound: (file: File | null) => void): Use {
  const [state, setState] = useState<Hearing>("off");
  const [refused, setRefused] = useState<string | null>(null);
  const [heard, setHeard] = useState({ seconds: 0, level: 0 });
  const recorder = useRef<MediaRecorder | null>(null);
  const stop = useCallback(() => { if (recorder.current?.state === "recording") recorder.current.stop(); }, []);
  useEffect(() => stop, [stop]);

  async function begin() {
    onSound(null);
    setRefused(null);
    setState("asking");
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1, echoCancellation: false, noiseSuppression: false } });
      recorder.current = record(stream, setHeard, stop, (blob) => void make(blob));
      setState("on");
    } catch (error) {
      setRefused((error as Error).name);
      setState("off");
    }
  }
  async function make(blob: Blob) {
    setState("making");
    try {
      onSound(await wavOf(blob));
      setState("there");
    } catch {
      setRefused("NothingHeard");
      setState("off");
    }
  }
  return { state, refused, ...heard, start: () => void begin(), stop };
}

/** Records until it is stopped, half a minute has passed or the microphone is unplugged; what was heard till then counts. */
function record(stream: MediaStream, tell: (heard: { seconds: number; level: number }) => void, stop: () => void, done: (blob: Blob) => void): MediaRecorder {
  const context = new AudioContext();
  const analyser = context.createAnalyser();
  context.createMediaStreamSource(stream).connect(analyser);
  const window = new Float32Array(analyser.fftSize);
  const recorder = new MediaRecorder(stream);
  const parts: Blob[] = [];
  const began = performance.now();
  const clock = setInterval(() => {
    analyser.getFloatTimeDomainData(window);
    const seconds = (performance.now() - began) / 1000;
    tell({ seconds, level: window.reduce((most, each) => Math.max(most, Math.abs(each)), 0) });
    if (seconds >= MOST_S) stop();
  }, 100);
  stream.getAudioTracks().forEach((track) => track.addEventListener("ended", stop));
  recorder.ondataavailable = (event) => parts.push(event.data);
  recorder.onstop = () => {
    clearInterval(clock);
    void context.close();
    stream.getTracks().forEach((track) => track.stop());
    done(new Blob(parts, { type: recorder.mimeType }));
  };
  recorder.start(1000);
  return recorder;
}
