/** The button to hold, or the open ear; and the ways out. */
import { Button } from "@mantine/core";
import { IconEar, IconMicrophone, IconVolumeOff, IconX } from "@tabler/icons-react";
import { useTranslation } from "react-i18next";
import { LevelMeter } from "../../parts/microphone/LevelMeter";
import { usePushToTalk } from "./pushToTalk";
import type { Voice } from "./talk";

/** What is going on, in one word of i18n `voice:now`. */
export function nowOf({ state, talk, talking, mode }: Voice): string {
  const turn = talk.turns.at(-1);
  if (state !== "open") return state;
  if (talking) return "talking";
  if (mode === "hands_free" && talk.speaking) return "hearing";
  if (turn?.state === "thinking" || turn?.state === "answering") return turn.state;
  return mode === "push" ? "hold" : "listening";
}

export function Controls({ voice }: { voice: Voice }) {
  const { t } = useTranslation("voice");
  const { mode, talking, state, hush, end } = voice;
  const answering = ["thinking", "answering"].includes(voice.talk.turns.at(-1)?.state ?? "");
  const push = usePushToTalk(mode === "push" && state === "open", voice);
  return (
    <section className="voice-bar" aria-label={t("controls")}>
      <LevelMeter level={voice.level} />
      <p role="status" className="voice-now">{t(`now.${nowOf(voice)}`)}</p>
      <div className="voice-buttons">
        <Button variant="default" leftSection={<IconX size={18} />} onClick={end}>{t("end")}</Button>
        {mode === "push" ? (
          <button className="talk" autoFocus aria-pressed={talking} aria-label={t("talk")} disabled={state !== "open"} {...push}><IconMicrophone size={34} stroke={1.6} /></button>
        ) : (
          <span className="talk ear" aria-hidden="true"><IconEar size={34} stroke={1.6} /></span>
        )}
        <Button variant="default" leftSection={<IconVolumeOff size={18} />} onClick={hush} disabled={!answering}>{t("hush")}</Button>
      </div>
    </section>
  );
}
