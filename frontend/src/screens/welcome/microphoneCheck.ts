/** The microphone, opened to be looked at and closed again; nothing of it leaves the page. */
import { useEffect, useMemo, useRef, useState } from "react";
import { Level, shareOf } from "../../parts/microphone/level";
import { MicrophoneError, openMicrophone, type Microphone, type NoMicrophone } from "../../parts/microphone/microphone";

/** Louder than an empty room. */
const VOICE = 0.25;

export function useMicrophoneCheck() {
  const level = useMemo(() => new Level(), []);
  const device = useRef<Microphone | null>(null);
  const [state, setState] = useState<"idle" | "asking" | "open" | "heard">("idle");
  const [trouble, setTrouble] = useState<NoMicrophone | null>(null);

  async function close() {
    const was = device.current;
    device.current = null;
    setState("idle");
    await was?.close();
  }
  async function open() {
    setTrouble(null);
    setState("asking");
    try {
      device.current = await openMicrophone({
        onSound: (_, loud) => {
          level.set(loud);
          if (shareOf(loud) > VOICE) setState((was) => (was === "open" ? "heard" : was));
        },
        onLost: () => { setTrouble("lost"); void close(); },
      });
      setState("open");
    } catch (error) {
      setTrouble(error instanceof MicrophoneError ? error.kind : "failed");
      setState("idle");
    }
  }
  useEffect(() => () => void device.current?.close(), []);
  return { level, state, trouble, name: device.current?.name ?? "", open: () => void open(), close: () => void close() };
}
