/** A citation: plays its seconds, and leads to its place in the recording, the document or the note. */
import { Button } from "@mantine/core";
import { IconFileText, IconNote, IconPlayerPlayFilled } from "@tabler/icons-react";
import { Link } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import type { Citation } from "../../api/client";
import { hasScreen } from "../../app/screens";
import { clock, speakerName } from "../../format";
import { usePlayer } from "../../parts/MomentPlayer";

interface Props {
  citation: Citation;
  /** From 1, as the answer counts. */
  number: number;
  title?: string | null;
}

export function Chip({ citation, number, title }: Props) {
  const { t } = useTranslation("chat");
  const { play } = usePlayer();
  const { transcript_id: id, start_s: start, end_s: end } = citation;
  if (!id || start == null) return <Written citation={citation} number={number} title={title} />;
  return (
    <span className="chat-chip">
      <Button
        className="chat-play" variant="light" size="compact-sm" radius="xl" leftSection={<IconPlayerPlayFilled size={14} />}
        onClick={() => void play(id, start, end, title ?? undefined)}
      >
        {t("chip", { number, speaker: speakerName(citation.speaker ?? ""), time: clock(start) })}
      </Button>
      <Link className="small" to="/recording/$id" params={{ id }} search={{ t: start } as never}>
        {title ? <bdi>{title}</bdi> : t("open")}
      </Link>
    </span>
  );
}

/** What nobody said: a page of a document, or a note. */
function Written({ citation, number, title }: Props) {
  const { t } = useTranslation("chat");
  const { document_id: document, page, offset, memory_id: memory } = citation;
  const Icon = document ? IconFileText : IconNote;
  const words = document ? (page == null ? t("document", { number }) : t("page", { number, page })) : t("notes", { number });
  const search = document ? { view: "documents", doc: document, page, at: offset } : { memory };
  return (
    <span className="chat-chip">
      <Icon size={16} stroke={1.6} aria-hidden="true" />
      {hasScreen("memories") ? <Link to="/memories" search={search as never}>{words}</Link> : words}
      {title && <bdi className="quiet small">{title}</bdi>}
    </span>
  );
}
