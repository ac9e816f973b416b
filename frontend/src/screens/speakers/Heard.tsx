/** The recordings in which a voice is heard; a wrong one is given to somebody else. */
import { Button } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { useQueryClient } from "@tanstack/react-query";
import { useState, type FormEvent } from "react";
import { useTranslation } from "react-i18next";
import type { EnrolledSpeaker, TranscriptSummary } from "../../api/client";
import { RECORDINGS } from "../../api/queries/recordings";
import { handOver, SPEAKERS, undoNaming, useHeardIn } from "../../api/queries/speakers";
import { clock, day } from "../../format";
import { Skeletons } from "../../parts/Skeletons";
import { Trouble } from "../../parts/Trouble";
import { undoable } from "../../parts/UndoToast";

export function Heard({ who }: { who: EnrolledSpeaker }) {
  const { t } = useTranslation("speakers");
  const { data, error, refetch } = useHeardIn(who.speaker_id);
  if (error) return <Trouble why={error.message}><Button variant="default" size="compact-md" onClick={() => void refetch()}>{t("again")}</Button></Trouble>;
  if (!data) return <Skeletons lines={1} />;
  if (data.length === 0) return <p className="quiet small">{t("heard-nowhere")}</p>;
  return <ul className="list heard-list" aria-label={t("heard-name", { name: who.name })}>{data.map((each) => <Row key={each.transcript_id} who={who} recording={each} />)}</ul>;
}

function Row({ who, recording }: { who: EnrolledSpeaker; recording: TranscriptSummary }) {
  const { t } = useTranslation("speakers");
  const [asking, setAsking] = useState(false);
  const split = useSplit(who, recording);
  const { transcript_id: id, title } = recording;
  function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    setAsking(false);
    split(String(new FormData(event.currentTarget).get("name")).trim());
  }
  return (
    <li>
      <div className="row">
        <div className="grow">
          <Link to="/recording/$id" params={{ id }} dir="auto">{title}</Link>
          <span className="quiet small"> {day(recording.created_at)}{recording.duration_s != null && ` · ${clock(recording.duration_s)}`}</span>
        </div>
        <Button variant="subtle" size="compact-sm" aria-expanded={asking} onClick={() => setAsking(!asking)} aria-label={t("split-name", { name: who.name, title })}>{t("split")}</Button>
      </div>
      {asking && (
        <form className="facts split" onSubmit={submit}>
          <label>{t("split-who")} <input className="select" name="name" maxLength={100} dir="auto" autoFocus placeholder={t("split-nobody")} /></label>
          <Button type="submit" size="compact-md">{t("split-act")}</Button>
        </form>
      )}
    </li>
  );
}

/** Somebody new of that name, or nobody known where the name is empty. */
function useSplit(who: EnrolledSpeaker, recording: TranscriptSummary) {
  const { t } = useTranslation("speakers");
  const cache = useQueryClient();
  const reload = () => Promise.all([SPEAKERS, RECORDINGS].map((queryKey) => cache.invalidateQueries({ queryKey })));
  return (name: string) => {
    let undoId: string | null = null;
    void undoable({
      message: t("split-done", { name: who.name, title: recording.title }),
      action: async () => {
        undoId = await handOver(recording, who.speaker_id, name ? { name } : null, name !== "");
        await reload();
      },
      undo: async () => {
        if (undoId) await undoNaming(undoId);
        await reload();
      },
    });
  };
}
