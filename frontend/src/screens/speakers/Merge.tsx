/** Is this the same person? Then one of the two takes all recordings of the other, whose voice is erased. */
import { Button, Modal } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState, type FormEvent } from "react";
import { useTranslation } from "react-i18next";
import type { EnrolledSpeaker } from "../../api/client";
import { heardIn } from "../../api/queries/speakers";
import { number } from "../../format";
import { SpeakerBadge } from "../../parts/SpeakerBadge";
import { Trouble } from "../../parts/Trouble";
import { useMerge } from "./merging";

interface Props {
  who: EnrolledSpeaker;
  others: EnrolledSpeaker[];
  onClose: () => void;
}

export function Merge({ who, others, onClose }: Props) {
  const { t } = useTranslation("speakers");
  const [intoId, setInto] = useState(others[0]?.speaker_id);
  const into = others.find((each) => each.speaker_id === intoId);
  const heard = useQuery({ queryKey: ["speakers", who.speaker_id, "heard"], queryFn: ({ signal }) => heardIn(who.speaker_id, signal) });
  const { busy, done, merge } = useMerge(who, onClose);
  function submit(event: FormEvent) {
    event.preventDefault();
    if (into && heard.data) void merge(into, heard.data);
  }
  return (
    <Modal opened onClose={onClose} title={t("same", { name: who.name })} closeButtonProps={{ "aria-label": t("shell:close") }} closeOnClickOutside={!busy}>
      <form className="enrol" onSubmit={submit}>
        <fieldset className="persons">
          <legend>{t("same-as")}</legend>
          {others.map((each) => (
            <label key={each.speaker_id}>
              <input type="radio" name="into" value={each.speaker_id} checked={each.speaker_id === intoId} onChange={() => setInto(each.speaker_id)} />
              <SpeakerBadge label={each.speaker_id} name={each.name} />
              <span className="quiet small">{t("samples", { count: each.embeddings })} · {t("seconds", { number: number(Math.round(each.seconds)) })}</span>
            </label>
          ))}
        </fieldset>
        <Trouble why={heard.error?.message} />
        <p className="small" role="status">{heard.data && into && t("merge-means", { count: heard.data.length, name: who.name, into: into.name })}</p>
        {busy && <progress max={heard.data?.length || 1} value={done} aria-label={t("merging")} />}
        <div className="facts">
          <Button type="submit" loading={busy} disabled={!heard.data || !into}>{t("merge-act")}</Button>
          <Button variant="default" onClick={onClose} disabled={busy}>{t("cancel")}</Button>
        </div>
      </form>
    </Modal>
  );
}
