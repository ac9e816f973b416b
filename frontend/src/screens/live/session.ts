/** One live session: the microphone, the line, the words, the clock. */
import i18next from "i18next";
import { useCallback, useEffect, useMemo, useReducer, useRef, useState } from "react";
import { time } from "../../format";
import { Level } from "../../parts/microphone/level";
import { MicrophoneError, openMicrophone, type Microphone, type NoMicrophone } from "../../parts/microphone/microphone";
import { hear, NO_WORDS, type LiveEvent, type Words } from "./events";
import { Line, type LineState, type Session } from "./line";

const KEPT = "nemo-live";

/** The session of this tab that was cut off by a reload, while the server still waits for it. */
export function cutOff(): Session | null {
  const kept = sessionStorage.getItem(KEPT);
  return kept ? (JSON.parse(kept) as Session) : null;
}

function keep(session: Session | null): void {
  if (session) sessionStorage.setItem(KEPT, JSON.stringify(session));
  else sessionStorage.removeItem(KEPT);
}

export interface Live {
  state: "idle" | "asking" | "paused" | LineState;
  words: Words;
  level: Level;
  /** Sound heard, in milliseconds; pauses do not count. */
  heardMs: () => number;
  waitingMs: () => number;
  trouble: NoMicrophone | null;
  why: string | null;
  transcriptId: string | null;
  device: string;
  start: (session: Session | null) => void;
  pause: () => void;
  goOn: () => void;
  stop: () => void;
}

function words(was: Words, event: LiveEvent | "new"): Words {
  return event === "new" ? NO_WORDS : hear(was, event);
}

/** Opens and closes the microphone; one that is lost is told. */
function useMicrophone(level: Level, sound: (pcm: ArrayBuffer) => void) {
  const device = useRef<Microphone | null>(null);
  const [trouble, setTrouble] = useState<NoMicrophone | null>(null);
  const close = useCallback(async () => {
    const was = device.current;
    device.current = null;
    await was?.close();
    level.set(0);
  }, [level]);
  const open = useCallback(async (lost: () => void): Promise<boolean> => {
    setTrouble(null);
    try {
      device.current = await openMicrophone({
        onSound: (pcm, loud) => { level.set(loud); sound(pcm); },
        onLost: () => { setTrouble("lost"); void close(); lost(); },
      });
      return true;
    } catch (error) {
      setTrouble(error instanceof MicrophoneError ? error.kind : "failed");
      return false;
    }
  }, [level, sound, close]);
  return { open, close, trouble, name: device.current?.name ?? "" };
}

/** Another screen: what was said so far becomes a recording. */
function leave(closeMicrophone: () => Promise<void>, line: Line | null): void {
  void closeMicrophone().then(() => line?.stop());
}

export function useLive(): Live {
  const level = useMemo(() => new Level(), []);
  const line = useRef<Line | null>(null);
  const [state, setState] = useState<Live["state"]>("idle");
  const [why, setWhy] = useState<string | null>(null);
  const [transcriptId, setTranscript] = useState<string | null>(null);
  const [told, tell] = useReducer(words, NO_WORDS);
  const paused = useRef(false);
  const pauseNow = useRef<() => void>(() => undefined);
  const sound = useCallback((pcm: ArrayBuffer) => {
    line.current?.send(pcm);
    if (line.current?.sound.full) pauseNow.current(); // more than the server would wait for: nothing that was heard is dropped
  }, []);
  const microphone = useMicrophone(level, sound);

  const pause = () => {
    paused.current = true;
    setState("paused");
    void microphone.close().then(() => line.current?.flush());
  };
  pauseNow.current = pause;

  const connect = useCallback((session: Session | null) => {
    tell("new");
    setWhy(null);
    line.current = new Line({
      event: tell,
      session: (kept) => { keep(kept); if (kept) setTranscript(kept.transcriptId); },
      state: (next, reason) => {
        setWhy(reason);
        setState(paused.current && next === "open" ? "paused" : next);
      },
    }, i18next.t("live:note", { time: time(new Date().toISOString()) }), session);
  }, []);

  const lost = () => { paused.current = true; setState("paused"); };
  const start = async (session: Session | null) => {
    paused.current = false;
    line.current = null;
    setState("asking");
    if (await microphone.open(lost)) connect(session);
    else setState("idle");
  };
  const goOn = async () => {
    paused.current = !(await microphone.open(lost));
    if (!paused.current) setState("open");
  };
  const stop = async () => {
    setState("stopping");
    await microphone.close();
    line.current?.stop();
  };

  useEffect(() => () => leave(microphone.close, line.current), []); // eslint-disable-line
  useEffect(() => {
    if (state === "lost" || state === "ended") void microphone.close();
  }, [state]); // eslint-disable-line

  return {
    state, words: told, level, trouble: microphone.trouble, why, transcriptId, device: microphone.name,
    heardMs: () => line.current?.sound.heardMs ?? 0, waitingMs: () => line.current?.sound.waitingMs ?? 0,
    start: (session) => void start(session), pause, goOn: () => void goOn(), stop: () => void stop(),
  };
}
