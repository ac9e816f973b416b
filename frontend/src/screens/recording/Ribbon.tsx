/** How it sounded, along the time: full height where the model was sure, half where it guessed. The same in words below. */
import { IconMoodSmile } from "@tabler/icons-react";
import { memo, useMemo, type PointerEvent } from "react";
import { useTranslation } from "react-i18next";
import type { Transcript } from "../../api/client";
import { percent } from "../../format";
import { EmotionBadge } from "../../parts/EmotionBadge";
import { TimeCode } from "../../parts/TimeCode";
import { feelings, isSure, type Feeling } from "./shape";

interface Props {
  transcript: Transcript;
  length: number;
  onGo: (event: PointerEvent<HTMLElement>) => void;
}

export const Ribbon = memo(function Ribbon({ transcript, length, onGo }: Props) {
  const { t } = useTranslation("recording");
  const { segments = [], transcript_id: id, title } = transcript;
  const found = useMemo(() => feelings(segments), [segments]);
  if (!found.length) return null;
  return (
    <>
      <div className="lane">
        <span className="lane-name"><IconMoodSmile size={20} stroke={1.6} aria-hidden="true" /><span>{t("ribbon.name")}</span></span>
        <div className="track ribbon" onPointerDown={onGo}>
          <svg viewBox={`0 0 ${length} 1`} preserveAspectRatio="none" aria-hidden="true">
            {segments.map((segment) => segment.emotion && (
              <rect
                key={segment.segment_id} className={segment.emotion.label} x={segment.start_s} width={Math.max(0, segment.end_s - segment.start_s)}
                y={isSure(segment) ? 0 : 0.5} height={isSure(segment) ? 1 : 0.5}
              />
            ))}
          </svg>
        </div>
      </div>
      <details className="in-words small">
        <summary>{t("ribbon.words", { most: t(`parts:emotion.${found[0]!.label}`, { defaultValue: found[0]!.label }), share: percent(found[0]!.share) })}</summary>
        <p className="quiet">{t("ribbon.how")}</p>
        <ul className="list">{found.map((feeling) => <Line key={feeling.label} feeling={feeling} id={id} title={title} />)}</ul>
      </details>
    </>
  );
});

function Line({ feeling, id, title }: { feeling: Feeling; id: string; title: string }) {
  const { t } = useTranslation("recording");
  const { label, share, sureS, seconds, best } = feeling;
  return (
    <li className="facts">
      <EmotionBadge label={label} /> <span>{percent(share)}</span>
      <span className="quiet">{t("ribbon.sure", { share: percent(seconds ? sureS / seconds : 0) })}</span>
      <span className="quiet">{t("ribbon.best")} <TimeCode transcriptId={id} startS={best.start_s} endS={best.end_s} title={title} /></span>
    </li>
  );
}
