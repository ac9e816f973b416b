/** Where something was heard: plays it, and leads there. */
import { IconFileText, IconMessageCircle, IconPlayerPlayFilled } from "@tabler/icons-react";
import { Link } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { useFact, type FactEvidence } from "../../api/queries/facts";
import { useRecordings } from "../../api/queries/recordings";
import { clock } from "../../format";
import { usePlayer } from "../../parts/MomentPlayer";
import type { Row } from "./filters";

interface Heard {
  transcriptId: string;
  startS: number | null | undefined;
  endS?: number | null;
  title?: string | null;
}

/** Of the recordings that are listed already; asking for a whole transcript would be much for a name. */
function useTitle(id: string, given: string | null | undefined): string | null {
  const { data } = useRecordings();
  return given ?? data?.pages.flatMap((page) => page.data).find((each) => each.transcript_id === id)?.title ?? null;
}

export function HeardIn({ transcriptId, startS, endS, title: given }: Heard) {
  const { t } = useTranslation("memories");
  const { play } = usePlayer();
  const title = useTitle(transcriptId, given) ?? t("a-recording");
  const start = startS ?? 0;
  return (
    <span className="mem-heard">
      <button
        className="mem-play" aria-label={t("play", { title, time: clock(start) })}
        onClick={() => void play(transcriptId, start, endS, title)}
      >
        <IconPlayerPlayFilled size={12} aria-hidden="true" />{clock(start)}
      </button>
      <span>{t("heard")} <Link to="/recording/$id" params={{ id: transcriptId }} search={{ t: start } as never}><bdi>{title}</bdi></Link></span>
    </span>
  );
}

export function InDocument({ row }: { row: Row }) {
  const { t } = useTranslation("memories");
  return (
    <span className="mem-heard">
      <IconFileText size={16} stroke={1.6} aria-hidden="true" />
      <Link to="/memories" search={{ view: "documents", doc: row.documentId, page: row.page, at: row.offset } as never}>
        <bdi>{row.title ?? t("a-document")}</bdi>{row.page != null && `, ${t("on-page", { page: row.page })}`}
      </Link>
    </span>
  );
}

export function Said({ evidence }: { evidence: FactEvidence }) {
  const { t } = useTranslation("memories");
  if (evidence.transcript_id) return <HeardIn transcriptId={evidence.transcript_id} startS={evidence.start_s} endS={evidence.end_s} />;
  if (!evidence.conversation_id) return null;
  return (
    <span className="mem-heard">
      <IconMessageCircle size={16} stroke={1.6} aria-hidden="true" />
      <Link to="/chat" search={{ c: evidence.conversation_id } as never}>{t("in-chat")}</Link>
    </span>
  );
}

export function FactOrigin({ id }: { id: string }) {
  const { data: fact } = useFact(id);
  const [first] = fact?.evidence ?? [];
  return first ? <Said evidence={first} /> : null;
}
