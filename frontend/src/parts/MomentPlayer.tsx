/** The one audio element of the page: every moment, from wherever it is asked for, plays here. */
import { createContext, useCallback, useContext, useEffect, useMemo, useRef, useState, type ReactNode, type RefObject } from "react";
import i18next from "i18next";
import { audioLink } from "../api/upload";

interface Loaded {
  transcriptId: string;
  title: string | null;
}

export interface PlayerState {
  /** What is in the player; null where nothing is. */
  loaded: Loaded | null;
  playing: boolean;
  trouble: string | null;
  /** From `startS` to `endS` (or the end), in seconds of the recording. */
  play: (transcriptId: string, startS: number, endS?: number | null, title?: string) => Promise<void>;
  /** Fetch the sound, play nothing. */
  prepare: (transcriptId: string, title?: string) => Promise<void>;
  toggle: () => void;
  seek: (second: number) => void;
  close: () => void;
  /** For what draws along with it (a waveform takes it as its `media`). */
  audio: RefObject<HTMLAudioElement | null>;
}

const Context = createContext<PlayerState | null>(null);
const PAST_END_S = 0.15;

export function usePlayer(): PlayerState {
  const player = useContext(Context);
  if (!player) throw new Error("usePlayer outside of Player");
  return player;
}

/** The second being heard of this recording, -1 while the player has another or none. */
export function useSecond(transcriptId: string | undefined): number {
  const { audio, loaded } = usePlayer();
  const [second, setSecond] = useState(-1);
  const mine = transcriptId !== undefined && loaded?.transcriptId === transcriptId;
  useEffect(() => {
    const element = audio.current;
    if (!mine || !element) return setSecond(-1);
    const moved = () => setSecond(element.currentTime);
    for (const event of ["timeupdate", "seeking"]) element.addEventListener(event, moved);
    return () => {
      for (const event of ["timeupdate", "seeking"]) element.removeEventListener(event, moved);
    };
  }, [audio, mine]);
  return second;
}

/** The sound of one recording at a time, by an address of its own: only what is heard is fetched. */
function useSource(audio: RefObject<HTMLAudioElement | null>) {
  const wanted = useRef<string | null>(null);
  const drop = useCallback(() => {
    wanted.current = null;
    audio.current?.removeAttribute("src");
  }, [audio]);
  useEffect(() => drop, [drop]);

  /** False where another recording was asked for meanwhile. `again`: the address before does not work any more. */
  const load = useCallback(async (id: string, again = false): Promise<boolean> => {
    if (!again && wanted.current === id && audio.current?.hasAttribute("src")) return true;
    if (!again) drop();
    wanted.current = id;
    const url = await audioLink(id);
    if (wanted.current !== id || !audio.current) return false;
    audio.current.src = url;
    return true;
  }, [audio, drop]);

  /** A new address, on from the same second. False where nothing is loaded. */
  const mend = useCallback(async (goOn: boolean): Promise<boolean> => {
    const element = audio.current;
    const id = wanted.current;
    if (!element || !id) return false;
    const second = element.currentTime;
    if (!(await load(id, true))) return false;
    element.currentTime = second;
    if (goOn) await element.play().catch(() => undefined);
    return true;
  }, [audio, load]);
  return { load, drop, mend };
}

/**
 * A link ends after a quarter of an hour, with the session, or with the server: the player gets a new one and goes on.
 * What then cannot be played either is told, and the next click on play tries again.
 */
function useMending(audio: RefObject<HTMLAudioElement | null>, mend: (goOn: boolean) => Promise<boolean>, tell: (why: string | null) => void) {
  const state = useRef<"well" | "mending" | "broken">("well");
  const failed = useCallback(async () => {
    if (!audio.current?.hasAttribute("src")) return;
    const goOn = !audio.current.paused;
    if (state.current !== "well") {
      state.current = "broken";
      return tell(i18next.t("parts:player.unplayable"));
    }
    state.current = "mending";
    await mend(goOn).catch((error: Error) => {
      state.current = "broken";
      tell(error.message);
    });
  }, [audio, mend, tell]);
  const worked = useCallback(() => {
    state.current = "well";
    tell(null);
  }, [tell]);
  /** True where it was broken and is being tried again. */
  const retry = useCallback((): boolean => {
    if (state.current !== "broken") return false;
    state.current = "mending";
    void mend(true).catch((error: Error) => {
      state.current = "broken";
      tell(error.message);
    });
    return true;
  }, [mend, tell]);
  return { failed, worked, retry };
}

export function Player({ children }: { children: ReactNode }) {
  const audio = useRef<HTMLAudioElement>(null);
  const stopAt = useRef<number | null>(null);
  const [loaded, setLoaded] = useState<Loaded | null>(null);
  const [playing, setPlaying] = useState(false);
  const [trouble, setTrouble] = useState<string | null>(null);
  const { load, drop, mend } = useSource(audio);
  const { failed, worked, retry } = useMending(audio, mend, setTrouble);

  const prepare = useCallback(async (transcriptId: string, title?: string) => {
    setTrouble(null);
    setLoaded((was) => (was?.transcriptId === transcriptId && !title ? was : { transcriptId, title: title ?? null }));
    await load(transcriptId, audio.current?.error != null).catch((error: Error) => setTrouble(error.message));
  }, [load]);

  const play = useCallback(async (transcriptId: string, startS: number, endS?: number | null, title?: string) => {
    await prepare(transcriptId, title);
    const element = audio.current;
    if (!element?.src) return;
    stopAt.current = endS ?? null;
    element.currentTime = startS;
    await element.play().catch(() => undefined); // a browser may want a click first: the mini player has one
  }, [prepare]);

  const seek = useCallback((second: number) => {
    stopAt.current = null;
    if (audio.current) audio.current.currentTime = second;
  }, []);
  const toggle = useCallback(() => {
    stopAt.current = null;
    if (retry()) return;
    if (audio.current?.paused) void audio.current.play().catch(() => undefined);
    else audio.current?.pause();
  }, [retry]);
  const close = useCallback(() => {
    audio.current?.pause();
    drop();
    setLoaded(null);
  }, [drop]);
  const passed = () => {
    const element = audio.current;
    if (!element || stopAt.current === null || element.currentTime < stopAt.current + PAST_END_S) return;
    stopAt.current = null;
    element.pause();
  };

  const state = useMemo(
    () => ({ loaded, playing, trouble, play, prepare, toggle, seek, close, audio }),
    [loaded, playing, trouble, play, prepare, toggle, seek, close],
  );
  return (
    <Context value={state}>
      {children}
      <audio
        ref={audio} preload="metadata" hidden onTimeUpdate={passed} onError={() => void failed()} onLoadedMetadata={worked}
        onPlay={() => setPlaying(true)} onPause={() => setPlaying(false)} onEmptied={() => setPlaying(false)}
      />
    </Context>
  );
}
