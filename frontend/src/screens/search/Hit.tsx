/** One passage that was found: what it says with the words asked for marked, where it comes from, its moment to play. */
import { Link } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import type { SearchHit } from "../../api/client";
import { noteSource } from "../../api/queries/remembered";
import { clock, day } from "../../format";
import { SpeakerBadge } from "../../parts/SpeakerBadge";
import { TimeCode } from "../../parts/TimeCode";
import { highlight } from "./highlight";

/** The moment it was said at: of a passage itself, of a note the one that it was kept from. */
function moment({ metadata }: SearchHit) {
  const { transcript_id: id, start_s: start, end_s: end, tags } = metadata;
  if (id && start != null) return { id, start, end };
  const source = noteSource(tags ?? []);
  return source && { id: source.id, start: source.second, end: null };
}

export function Hit({ hit, query }: { hit: SearchHit; query: string }) {
  const { t } = useTranslation("search");
  const { title, speaker, memory_type: type, occurred_at, created_at } = hit.metadata;
  const at = moment(hit);
  return (
    <li className="card hit">
      <p className="preview" dir="auto">
        {highlight(hit.content, query).map((part, n) => (part.found ? <mark key={n}>{part.text}</mark> : part.text))}
      </p>
      <p className="facts quiet small">
        {at && <TimeCode transcriptId={at.id} startS={at.start} endS={at.end} title={title ?? undefined} />}
        {speaker && <SpeakerBadge label={speaker} />}
        {title && <bdi>{title}</bdi>}
        <span>{t(`types.${type}`, { defaultValue: type })}</span>
        <span>{day(occurred_at ?? created_at)}</span>
        {at && <Link to="/recording/$id" params={{ id: at.id }} search={{ t: at.start } as never}>{t("play", { time: clock(at.start) })}</Link>}
      </p>
    </li>
  );
}
