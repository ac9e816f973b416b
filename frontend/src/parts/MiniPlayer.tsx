/** The player as a bar at the foot of every screen, while something is in it. */
import { ActionIcon } from "@mantine/core";
import { IconPlayerPauseFilled, IconPlayerPlayFilled, IconX } from "@tabler/icons-react";
import { Link } from "@tanstack/react-router";
import { useEffect, useState } from "react";
import { useTranslation } from "react-i18next";
import { useShortcut } from "../app/shortcuts";
import { clock } from "../format";
import { usePlayer, useSecond, type PlayerState } from "./MomentPlayer";
import { Trouble } from "./Trouble";

export function MiniPlayer() {
  const player = usePlayer();
  return player.loaded && <Bar player={player} id={player.loaded.transcriptId} title={player.loaded.title} />;
}

function useLength({ audio }: PlayerState): number {
  const [length, setLength] = useState(0);
  useEffect(() => {
    const element = audio.current;
    const changed = () => setLength(Number.isFinite(element?.duration) ? (element?.duration ?? 0) : 0);
    changed();
    element?.addEventListener("durationchange", changed);
    return () => element?.removeEventListener("durationchange", changed);
  }, [audio]);
  return length;
}

function Bar({ player, id, title }: { player: PlayerState; id: string; title: string | null }) {
  const { t } = useTranslation("parts");
  const second = Math.max(0, useSecond(id));
  const length = useLength(player);
  const Icon = player.playing ? IconPlayerPauseFilled : IconPlayerPlayFilled;
  useShortcut(" ", t("player.toggle"), player.toggle);
  useShortcut("ArrowLeft", t("player.back"), () => player.seek(Math.max(0, second - 5)));
  useShortcut("ArrowRight", t("player.on"), () => player.seek(Math.min(length, second + 5)));
  return (
    <section className="mini" aria-label={t("player.name")}>
      <Trouble why={player.trouble} />
      <div className="mini-row">
        <ActionIcon radius="xl" size={44} onClick={player.toggle} aria-label={t(player.playing ? "player.pause" : "player.play")}>
          <Icon size={20} />
        </ActionIcon>
        <div className="grow">
          <p className="mini-title"><Link to="/recording/$id" params={{ id }} dir="auto">{title ?? t("player.recording")}</Link></p>
          <input
            type="range" min={0} max={length || 1} step={0.1} value={second} aria-label={t("player.place")}
            aria-valuetext={`${clock(second)} / ${clock(length)}`} onChange={(event) => player.seek(Number(event.target.value))}
          />
        </div>
        <span className="mini-time quiet small">{clock(second)} / {clock(length)}</span>
        <ActionIcon variant="subtle" color="gray" size="lg" onClick={player.close} aria-label={t("player.close")}><IconX size={18} /></ActionIcon>
      </div>
    </section>
  );
}
