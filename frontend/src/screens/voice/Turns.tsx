/** Question and answer; the sentence that sounds is marked. */
import { useEffect, useState } from "react";
import { useTranslation } from "react-i18next";
import { Evidence } from "./Evidence";
import { placeOf, type Turn } from "./events";
import type { Voice } from "./talk";

const LOOK_MS = 120;

export function Turns({ voice }: { voice: Voice }) {
  const { turns, hearing } = voice.talk;
  return (
    <div className="turns">
      {turns.map((turn, at) => <Exchange key={at} turn={turn} voice={voice} newest={at === turns.length - 1} />)}
      {hearing && <p className="voice-question asking" dir="auto" aria-live="off">{hearing}</p>}
    </div>
  );
}

function Exchange({ turn, voice, newest }: { turn: Turn; voice: Voice; newest: boolean }) {
  const { t } = useTranslation("voice");
  return (
    <section aria-label={turn.question}>
      <p className="voice-question" dir="auto">{turn.question}</p>
      <div className="card" aria-busy={turn.state === "thinking" || turn.state === "answering"}>
        {newest ? <Sounding turn={turn} voice={voice} /> : <p className="voice-answer" dir="auto">{turn.answer}</p>}
        {turn.state === "interrupted" && <p className="quiet small">{t("interrupted")}</p>}
        {turn.notice && <p className="notice small">{turn.notice}</p>}
        <Evidence citations={turn.citations} onPlay={voice.hush} />
      </div>
    </section>
  );
}

/** The index of the sentence that sounds now, -1 for none. */
function useSpoken(turn: Turn, { playback }: Voice): number {
  const [spoken, setSpoken] = useState(-1);
  useEffect(() => {
    const timer = setInterval(() => {
      const heard = playback.heardMs();
      setSpoken(playback.sounding ? turn.sentences.findLastIndex((each) => each.at_ms <= heard) : -1);
    }, LOOK_MS);
    return () => clearInterval(timer);
  }, [turn.sentences, playback]);
  return spoken;
}

function Sounding({ turn, voice }: { turn: Turn; voice: Voice }) {
  const { t } = useTranslation("voice");
  const sentence = turn.sentences[useSpoken(turn, voice)];
  const place = sentence && placeOf(turn.answer, sentence.text);
  if (!turn.answer) return <p className="voice-answer quiet">{turn.state === "thinking" ? t("thinking") : ""}</p>;
  if (!place) return <p className="voice-answer" dir="auto">{turn.answer}</p>;
  const [from, to] = place;
  return (
    <p className="voice-answer" dir="auto">
      {turn.answer.slice(0, from)}<mark className="spoken">{turn.answer.slice(from, to)}</mark>{turn.answer.slice(to)}
    </p>
  );
}
