import { ActionIcon, Button } from "@mantine/core";
import { IconArrowMerge, IconPlus, IconTrash } from "@tabler/icons-react";
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import type { EnrolledSpeaker } from "../../api/client";
import { forgetSpeaker, spansOf, SPEAKERS, useHeardIn } from "../../api/queries/speakers";
import { clock, day, number, percent } from "../../format";
import { SpeakerBadge } from "../../parts/SpeakerBadge";
import { undoableLater } from "../../parts/UndoToast";
import { Heard } from "./Heard";
import { Name } from "./Name";

interface Props {
  who: EnrolledSpeaker;
  others: boolean;
  onSample: () => void;
  onMerge: () => void;
}

const GOOD = 0.7;

export function SpeakerCard({ who, others, onSample, onMerge }: Props) {
  const { t } = useTranslation("speakers");
  const [open, setOpen] = useState(false);
  const forget = useForget();
  return (
    <li className="card">
      <div className="row">
        <div className="grow">
          <h2><SpeakerBadge label={who.speaker_id} name={who.name} /></h2>
          <p className="facts quiet small">
            <span>{t("samples", { count: who.embeddings })}</span>
            <span>{t("seconds", { number: number(Math.round(who.seconds)) })}</span>
            <Talk who={who} />
            <span>{day(who.updated_at)}</span>
          </p>
        </div>
        <ActionIcon variant="subtle" color="gray" size="lg" aria-label={t("forget", { name: who.name })} onClick={() => forget(who)}><IconTrash size={20} stroke={1.5} /></ActionIcon>
      </div>
      <Quality who={who} />
      <Name who={who} />
      <div className="facts speaker-acts">
        <Button variant="default" size="compact-md" leftSection={<IconPlus size={16} />} onClick={onSample} aria-label={t("sample-name", { name: who.name })}>{t("sample")}</Button>
        {others && <Button variant="default" size="compact-md" leftSection={<IconArrowMerge size={16} />} onClick={onMerge} aria-label={t("merge-name", { name: who.name })}>{t("merge")}</Button>}
        <Button variant="subtle" size="compact-md" aria-expanded={open} onClick={() => setOpen(!open)} aria-label={t("heard-name", { name: who.name })}>{t("heard")}</Button>
      </div>
      {open && <Heard who={who} />}
    </li>
  );
}

/** In how many recordings, and for how long in all of them. */
function Talk({ who }: { who: EnrolledSpeaker }) {
  const { t } = useTranslation("speakers");
  const { data } = useHeardIn(who.speaker_id);
  if (!data) return null;
  const seconds = data.flatMap((each) => spansOf(each, who.speaker_id)).reduce((sum, each) => sum + (each.talk_s ?? 0), 0);
  return <span>{t("talk", { count: data.length, time: clock(seconds) })}</span>;
}

/** How well the voice is known, as a bar, a share and advice. */
function Quality({ who }: { who: EnrolledSpeaker }) {
  const { t } = useTranslation("speakers");
  if (who.embeddings === 0) return <p className="notice small">{t("quality.none")}</p>;
  const words = t(who.quality >= GOOD ? "quality.good" : "quality.fair");
  return (
    <p className="quality small">
      <meter min={0} max={1} low={0.4} high={GOOD} optimum={1} value={who.quality} aria-label={t("quality.label", { name: who.name })}>{percent(who.quality)}</meter>
      <span className="quiet">{percent(who.quality)} · {words}</span>
    </p>
  );
}

/** The voice is erased when the offer to take it back is over. */
function useForget() {
  const { t } = useTranslation("speakers");
  const cache = useQueryClient();
  const reload = () => void cache.invalidateQueries({ queryKey: SPEAKERS });
  return (who: EnrolledSpeaker) =>
    undoableLater({
      message: t("forgotten", { name: who.name }),
      hide: () => cache.setQueryData<EnrolledSpeaker[]>(SPEAKERS, (all) => all?.filter((each) => each.speaker_id !== who.speaker_id)),
      commit: () => forgetSpeaker(who.speaker_id).then(reload),
      restore: reload,
    });
}
