/** The sound as a picture that plays: wave, who speaks when, how it sounded, all along one line of time. */
import { ActionIcon } from "@mantine/core";
import { IconPlayerPauseFilled, IconPlayerPlayFilled } from "@tabler/icons-react";
import { useMemo, useRef, useState, type PointerEvent } from "react";
import { useTranslation } from "react-i18next";
import type { Transcript } from "../../api/client";
import { usePeaks } from "../../api/queries/transcript";
import { clock, speakerHue } from "../../format";
import { usePlayer } from "../../parts/MomentPlayer";
import { SpeakerBadge } from "../../parts/SpeakerBadge";
import { Trouble } from "../../parts/Trouble";
import { useEachFrame } from "./hearing";
import { Ribbon } from "./Ribbon";
import { lanes, outline } from "./shape";

interface Props {
  transcript: Transcript;
  names: Record<string, string>;
}

export function Deck({ transcript, names }: Props) {
  const { transcript_id: id, title, duration_s } = transcript;
  const length = duration_s || 1;
  const deck = useRef<HTMLDivElement>(null);
  const [second, setSecond] = useState(0);
  const { loaded, trouble, play, seek } = usePlayer();
  const mine = loaded?.transcriptId === id;
  useEachFrame(id, (now) => {
    const at = Math.max(0, now);
    deck.current?.style.setProperty("--at", String(Math.min(1, at / length)));
    setSecond(Math.floor(at * 4) / 4);
  });
  const go = (to: number) => (mine ? seek(to) : void play(id, to, null, title));
  return (
    <div className="deck" ref={deck} data-mine={mine || undefined}>
      <Trouble why={mine ? trouble : null} />
      <div className="deck-wave">
        <PlayButton transcript={transcript} second={second} />
        <Wave id={id} ready={duration_s != null} length={length} second={second} onGo={go} />
      </div>
      <Lanes transcript={transcript} names={names} length={length} onGo={go} />
    </div>
  );
}

function PlayButton({ transcript, second }: { transcript: Transcript; second: number }) {
  const { t } = useTranslation("parts");
  const { loaded, playing, toggle, play } = usePlayer();
  const mine = loaded?.transcriptId === transcript.transcript_id;
  const on = mine && playing;
  const Icon = on ? IconPlayerPauseFilled : IconPlayerPlayFilled;
  const click = () => (mine ? toggle() : void play(transcript.transcript_id, 0, null, transcript.title));
  return (
    <div className="deck-play">
      <ActionIcon radius="xl" size={48} onClick={click} aria-label={t(on ? "player.pause" : "player.play")}><Icon size={22} /></ActionIcon>
      <span className="mini-time quiet small">{clock(second)}<span className="deck-length"> / {clock(transcript.duration_s ?? 0)}</span></span>
    </div>
  );
}

interface WaveProps {
  id: string;
  ready: boolean;
  length: number;
  second: number;
  onGo: (second: number) => void;
}

/** The picture is a slider: it takes arrows, Home and End, and every click on it. */
function Wave({ id, ready, length, second, onGo }: WaveProps) {
  const { t } = useTranslation("recording");
  const { data: waveform, isPending } = usePeaks(id, ready);
  const path = useMemo(() => outline(waveform?.peaks ?? []), [waveform]);
  const box = `0 -1 ${Math.max(1, (waveform?.points ?? 2) - 1)} 2`;
  const drawing = <svg viewBox={box} preserveAspectRatio="none" aria-hidden="true"><path d={path} /></svg>;
  return (
    <div className={`wave${isPending ? " waiting" : ""}`}>
      {drawing}
      <div className="wave-heard" aria-hidden="true">{drawing}</div>
      <input
        type="range" min={0} max={length} step={0.1} value={second} onChange={(event) => onGo(Number(event.target.value))}
        aria-label={t("place")} aria-valuetext={`${clock(second)} / ${clock(length)}`}
      />
    </div>
  );
}

interface LanesProps extends Props {
  length: number;
  onGo: (second: number) => void;
}

function Lanes({ transcript, names, length, onGo }: LanesProps) {
  const { t } = useTranslation("recording");
  const { segments = [] } = transcript;
  const found = useMemo(() => lanes(segments), [segments]);
  const click = (event: PointerEvent<HTMLElement>) => {
    const { left, width } = event.currentTarget.getBoundingClientRect();
    onGo(((event.clientX - left) / width) * length);
  };
  if (!found.length) return null;
  return (
    <div className="lanes">
      {found.map(({ label, path, turns, seconds }) => (
        <div key={label} className={`lane speaker-${speakerHue(label)}`}>
          <SpeakerBadge label={label} name={names[label]} />
          <span className="hidden">{t("lane", { turns, time: clock(seconds) })}</span>
          <div className="track" onPointerDown={click}>
            <svg viewBox={`0 0 ${length} 1`} preserveAspectRatio="none" aria-hidden="true"><path d={path} /></svg>
          </div>
        </div>
      ))}
      <Ribbon transcript={transcript} length={length} onGo={click} />
    </div>
  );
}
