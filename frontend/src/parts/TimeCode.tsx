import { useTranslation } from "react-i18next";
import { clock } from "../format";
import { usePlayer } from "./MomentPlayer";

interface Props {
  transcriptId: string;
  startS: number;
  endS?: number | null;
  title?: string;
}

/** A moment of a recording as 1:23; plays it. */
export function TimeCode({ transcriptId, startS, endS, title }: Props) {
  const { t } = useTranslation("parts");
  const { play } = usePlayer();
  return (
    <button className="time" onClick={() => void play(transcriptId, startS, endS, title)} aria-label={t("player.from", { time: clock(startS) })}>
      {clock(startS)}
    </button>
  );
}
