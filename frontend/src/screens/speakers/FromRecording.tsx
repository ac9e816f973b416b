import { useState } from "react";
import { useTranslation } from "react-i18next";
import { useRecordings, useRecording } from "../../api/queries/recordings";
import { clock, speakerName } from "../../format";
import { Skeletons } from "../../parts/Skeletons";
import { Trouble } from "../../parts/Trouble";

interface Chosen {
  transcriptId: string;
  label: string;
}

/** A recording, then somebody in it. */
export function FromRecording({ onChosen }: { onChosen: (chosen: Chosen | null) => void }) {
  const { t } = useTranslation("speakers");
  const { data, error } = useRecordings();
  const [id, setId] = useState("");
  const done = data?.pages.flatMap((page) => page.data).filter((each) => each.status === "completed");
  if (error) return <Trouble why={error.message} />;
  if (!done) return <Skeletons lines={1} />;
  if (done.length === 0) return <p className="notice small">{t("no-recordings")}</p>;
  return (
    <>
      <label className="file-pick">
        <span>{t("recording")}</span>
        <select className="select" value={id} onChange={(event) => { setId(event.target.value); onChosen(null); }}>
          <option value="" disabled>{t("choose")}</option>
          {done.map((each) => <option key={each.transcript_id} value={each.transcript_id}>{each.title}</option>)}
        </select>
      </label>
      {id && <Labels key={id} id={id} onChosen={onChosen} />}
    </>
  );
}

function Labels({ id, onChosen }: { id: string; onChosen: (chosen: Chosen) => void }) {
  const { t } = useTranslation("speakers");
  const { data, error } = useRecording(id);
  if (error) return <Trouble why={error.message} />;
  if (!data) return <Skeletons lines={1} />;
  if (!data.speakers?.length) return <p className="notice small">{t("no-speakers")}</p>;
  return (
    <fieldset className="persons">
      <legend>{t("who")}</legend>
      {data.speakers.map((who) => (
        <label key={who.label}>
          <input type="radio" name="label" onChange={() => onChosen({ transcriptId: id, label: who.label })} />
          <bdi>{who.name ?? speakerName(who.label)}</bdi> <span className="quiet small">{clock(who.talk_s ?? 0)}</span>
        </label>
      ))}
    </fieldset>
  );
}
