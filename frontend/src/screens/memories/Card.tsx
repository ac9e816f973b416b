/** One memory: what, when, by whom, where it was heard, and away with it. */
import { ActionIcon } from "@mantine/core";
import { IconTrash } from "@tabler/icons-react";
import { Link } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { forgetMemory, useStale } from "../../api/queries/memories";
import { day } from "../../format";
import { discard } from "../../parts/hidden";
import { SpeakerBadge } from "../../parts/SpeakerBadge";
import type { Row } from "./filters";
import { useAddress } from "./address";
import { FactOrigin, HeardIn, InDocument } from "./Origin";

/** The first words, for a sentence about it. */
export const short = (text: string): string => (text.length > 60 ? `${text.slice(0, 60).trimEnd()}…` : text);

/** With all that came from it; taken back by a click. */
export function useForget() {
  const { t } = useTranslation("memories");
  const stale = useStale();
  return ({ id, content }: { id: string; content: string }) => discard(id, t("forgotten", { text: short(content) }), () => forgetMemory(id), stale);
}

export function Card({ row }: { row: Row }) {
  const { t } = useTranslation("memories");
  const address = useAddress();
  const forget = useForget();
  const known = ["note", "fact", "transcript", "document"].includes(row.type);
  return (
    <article className="card mem-card">
      <div className="grow">
        <p className="facts quiet small">
          <span className={`mem-type ${row.type}`}>{known ? t(`type.${row.type}`) : <bdi>{row.type}</bdi>}</span>
          <span>{day(row.at)}</span>
          {row.speaker && <SpeakerBadge label={row.speaker} />}
        </p>
        <Link className="mem-open" to="/memories" search={{ ...address, memory: row.id } as never}>
          {row.title && !row.transcriptId && !row.documentId && <strong dir="auto">{row.title}</strong>}
          <span className="mem-text" dir="auto">{row.content}</span>
        </Link>
        <div className="facts small">
          <Origin row={row} />
          {row.tags.map((tag) => <Link key={tag} className="mem-tag" to="/memories" search={{ tag } as never}><bdi>#{tag}</bdi></Link>)}
        </div>
      </div>
      <ActionIcon variant="subtle" color="gray" size="lg" aria-label={t("forget-this", { text: short(row.content) })} onClick={() => forget(row)}>
        <IconTrash size={20} stroke={1.5} />
      </ActionIcon>
    </article>
  );
}

/** Where it came from; a note says that by its kind. */
export function Origin({ row }: { row: Row }) {
  if (row.transcriptId) return <HeardIn transcriptId={row.transcriptId} startS={row.startS} endS={row.endS} title={row.title} />;
  if (row.documentId) return <InDocument row={row} />;
  return row.type === "fact" ? <FactOrigin id={row.id} /> : null;
}
