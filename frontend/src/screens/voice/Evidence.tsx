/** What the answer rests on: each plays its seconds. */
import { Button } from "@mantine/core";
import { IconPlayerPlayFilled } from "@tabler/icons-react";
import { Link } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import type { Citation } from "../../api/client";
import { clock, speakerName } from "../../format";
import { usePlayer } from "../../parts/MomentPlayer";

export function Evidence({ citations, onPlay }: { citations: Citation[]; onPlay: () => void }) {
  const { t } = useTranslation("voice");
  if (citations.length === 0) return null;
  return (
    <ul className="voice-evidence" aria-label={t("evidence")}>
      {citations.map((citation, at) => <Chip key={at} citation={citation} number={at + 1} onPlay={onPlay} />)}
    </ul>
  );
}

function Chip({ citation, number, onPlay }: { citation: Citation; number: number; onPlay: () => void }) {
  const { t } = useTranslation("voice");
  const { play } = usePlayer();
  const { transcript_id: id, start_s: start, end_s: end } = citation;
  if (!id || start == null) return <li className="quiet small">{t("notes", { number })}</li>;
  const heard = () => {
    onPlay();
    void play(id, start, end);
  };
  return (
    <li>
      <Button variant="light" size="compact-md" radius="xl" leftSection={<IconPlayerPlayFilled size={14} />} onClick={heard}>
        {t("chip", { number, speaker: speakerName(citation.speaker ?? ""), time: clock(start) })}
      </Button>
      <Link to="/recording/$id" params={{ id }} search={{ t: start } as never} aria-label={t("open-of", { number })}>{t("open")}</Link>
    </li>
  );
}
