/** One voice chat: the microphone, the line, the turns, the answer's sound. */
import { useCallback, useEffect, useMemo, useReducer, useRef, useState } from "react";
import { Level } from "../../parts/microphone/level";
import { MicrophoneError, openMicrophone, type Microphone, type NoMicrophone } from "../../parts/microphone/microphone";
import { hear, NO_TALK, type Mode, type Talk, type VoiceEvent } from "./events";
import { VoiceLine, type LineState } from "./line";
import { Playback } from "./playback";

/** Sound from just before the button: people speak while they press. */
const BEFORE = 2;
/** And the last piece from the audio thread after it. */
const AFTER_MS = 160;

export interface Voice {
  state: "idle" | "asking" | LineState;
  mode: Mode;
  talk: Talk;
  /** The button is down. */
  talking: boolean;
  level: Level;
  playback: Playback;
  trouble: NoMicrophone | null;
  why: string | null;
  begin: (mode: Mode) => void;
  press: () => void;
  release: () => void;
  hush: () => void;
  end: () => void;
}

export function useVoice(): Voice {
  const level = useMemo(() => new Level(), []);
  const playback = useMemo(() => new Playback(), []);
  const [talk, tell] = useReducer(hear, NO_TALK);
  const [state, setState] = useState<Voice["state"]>("idle");
  const [mode, setMode] = useState<Mode>("push");
  const [why, setWhy] = useState<string | null>(null);
  const [trouble, setTrouble] = useState<NoMicrophone | null>(null);
  const [talking, setTalking] = useState(false);
  const device = useRef<Microphone | null>(null);
  const line = useRef<VoiceLine | null>(null);
  const open = useRef(false); // whether sound goes up now
  const before = useRef<ArrayBuffer[]>([]);
  const rate = useRef(24_000);
  const conversation = useRef<string | null>(null);
  conversation.current = talk.conversationId;

  const event = useCallback((each: VoiceEvent) => {
    if (each.type === "audio") {
      rate.current = each.sample_rate_hz;
      playback.begin();
    }
    if (each.type === "interrupted") playback.cut();
    tell(each);
  }, [playback]);

  const sound = useCallback((pcm: ArrayBuffer, loud: number) => {
    level.set(loud);
    if (open.current) return line.current?.send(pcm);
    before.current = [...before.current, pcm].slice(-BEFORE);
  }, [level]);

  const end = useCallback(() => {
    line.current?.close();
    line.current = null;
    playback.close();
    void device.current?.close();
    device.current = null;
    setTalking(false);
    setState("idle");
  }, [playback]);

  async function begin(wanted: Mode) {
    end();
    setMode(wanted);
    setTrouble(null);
    setState("asking");
    open.current = wanted === "hands_free";
    try {
      device.current = await openMicrophone({ onSound: sound, onLost: () => { end(); setTrouble("lost"); }, echoCancellation: true });
    } catch (error) {
      setTrouble(error instanceof MicrophoneError ? error.kind : "failed");
      return setState("idle");
    }
    line.current = new VoiceLine(wanted, {
      event, sound: (pcm) => playback.push(pcm, rate.current),
      state: (next, reason) => { setState(next); setWhy(reason); if (next !== "open") playback.cut(); if (next === "ended") void device.current?.close(); },
    }, conversation.current);
  }

  const press = useCallback(() => {
    playback.cut(); // at once: nobody talks over a machine
    setTalking(true);
    line.current?.talk(true);
    before.current.forEach((pcm) => line.current?.send(pcm));
    before.current = [];
    open.current = true;
  }, [playback]);
  const release = useCallback(() => {
    setTalking(false);
    setTimeout(() => {
      open.current = false;
      line.current?.talk(false);
    }, AFTER_MS);
  }, []);
  const hush = useCallback(() => {
    playback.cut();
    line.current?.interrupt();
  }, [playback]);
  useEffect(() => end, [end]);

  return { state, mode, talk, talking, level, playback, trouble, why, begin: (wanted) => void begin(wanted), press, release, hush, end };
}
