/** Statements of a summary. Each plays its moment; its badge opens the words that it was checked against. */
import { IconAlertTriangle, IconCheck, IconHelp } from "@tabler/icons-react";
import { useId, useState } from "react";
import { useTranslation } from "react-i18next";
import type { ActionItem, SummaryPoint } from "../../api/queries/transcript";
import { speakerName } from "../../format";
import { SpeakerBadge } from "../../parts/SpeakerBadge";
import { TimeCode } from "../../parts/TimeCode";

interface Props {
  name: string;
  points: (SummaryPoint | ActionItem)[];
  id: string;
  title: string;
}

export function Claims({ name, points, id, title }: Props) {
  if (!points.length) return null;
  return (
    <section className="claims">
      <h3>{name}</h3>
      <ul className="list">{points.map((point, n) => <Claim key={n} point={point} id={id} title={title} />)}</ul>
    </section>
  );
}

const ICONS = { supported: IconCheck, contradicted: IconAlertTriangle, unsupported: IconHelp };

function Claim({ point, id, title }: { point: SummaryPoint | ActionItem; id: string; title: string }) {
  const { t } = useTranslation("recording");
  const [open, setOpen] = useState(false);
  const evidence = useId();
  const { text, quote, start_s, end_s, speaker, verdict = "supported" } = point;
  const Icon = ICONS[verdict];
  const task = "assignee" in point ? [point.assignee && speakerName(point.assignee), point.due].filter(Boolean).join(" · ") : "";
  return (
    <li className="claim">
      <p dir="auto">{text}</p>
      <div className="facts small">
        <TimeCode transcriptId={id} startS={start_s} endS={end_s} title={title} />
        <button className={`verdict ${verdict}`} aria-expanded={open} aria-controls={evidence} onClick={() => setOpen(!open)}>
          <Icon size={15} aria-hidden="true" />{t(`summary.verdict.${verdict}`)}
        </button>
        {task && <bdi className="quiet">{task}</bdi>}
      </div>
      <div id={evidence} hidden={!open}>
        <blockquote dir="auto">{quote}</blockquote>
        <p className="facts small quiet"><SpeakerBadge label={speaker} /> <TimeCode transcriptId={id} startS={start_s} endS={end_s} title={title} /></p>
      </div>
    </li>
  );
}
