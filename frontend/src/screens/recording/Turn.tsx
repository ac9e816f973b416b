/** What one speaker says in one go. Its words are told apart by `data-at`; the list listens for all of them. */
import { IconDots } from "@tabler/icons-react";
import { Fragment, memo } from "react";
import { useTranslation } from "react-i18next";
import type { Segment } from "../../api/client";
import { clock, speakerHue } from "../../format";
import { EmotionBadge } from "../../parts/EmotionBadge";
import { SpeakerBadge } from "../../parts/SpeakerBadge";
import { pieces } from "./words";

export interface TurnProps {
  segment: Segment;
  row: number;
  name: string | undefined;
  /** Whether somebody else spoke before: else the name is not written again. */
  begins: boolean;
  /** Numbers of words within this turn; -1 for none. */
  heard: number;
  cursor: number;
  fixing: number;
  open: boolean;
  /** Missing where nothing may be changed. */
  onTools: ((segmentId: string) => void) | undefined;
  onPlay: (second: number) => void;
}

export const Turn = memo(function Turn(props: TurnProps) {
  const { segment, row, name, begins, open } = props;
  const { t } = useTranslation("recording");
  const time = clock(segment.start_s);
  return (
    <section className={`turn speaker-${speakerHue(segment.speaker)}${begins ? " begins" : ""}`}>
      <div className="turn-head">
        {begins && <h3><SpeakerBadge label={segment.speaker} name={name} /></h3>}
        <button className="time" onClick={() => props.onPlay(segment.start_s)} aria-label={t("play", { time })}>{time}</button>
        <EmotionBadge label={segment.emotion?.label === "neutral" ? null : segment.emotion?.label} confidence={segment.emotion?.confidence} />
        {segment.overlap && <span className="quiet small">{t("overlap")}</span>}
        {props.onTools && (
          <button className="turn-more" aria-expanded={open} aria-label={t("tools.open", { time })} onClick={() => props.onTools?.(segment.segment_id)}>
            <IconDots size={18} aria-hidden="true" />
          </button>
        )}
      </div>
      <p dir="auto" data-row={row}><WordsOf {...props} /></p>
    </section>
  );
});

function WordsOf({ segment, heard, cursor, fixing }: TurnProps) {
  const { t } = useTranslation("recording");
  return pieces(segment).map((piece, at) => {
    const reachable = at === cursor || piece.unsure;
    const look = `word${piece.unsure ? " unsure" : ""}${at === heard ? " heard" : ""}${at === fixing ? " fixing" : ""}`;
    return (
      <Fragment key={at}>
        <span
          className={look} data-at={at} tabIndex={reachable ? 0 : undefined} role={reachable ? "button" : undefined}
          title={piece.unsure ? t("unsure") : undefined} aria-current={at === heard ? "true" : undefined}
        >
          {piece.word}
        </span>
        {piece.gap}
      </Fragment>
    );
  });
}
