/** A sample of a voice: by the microphone, from a file, or from somebody heard in a recording. */
import { Button, Modal, TextInput } from "@mantine/core";
import { useState, type FormEvent } from "react";
import { useTranslation } from "react-i18next";
import type { EnrolledSpeaker } from "../../api/client";
import { useEnrol, type Sample } from "../../api/queries/speakers";
import { announce } from "../../app/announce";
import { number, percent } from "../../format";
import { Trouble } from "../../parts/Trouble";
import { FromRecording } from "./FromRecording";
import { Microphone } from "./Microphone";

const WAYS = ["microphone", "file", "recording"] as const;
type Way = (typeof WAYS)[number];

export function Enrol({ who, onClose }: { who: EnrolledSpeaker | null; onClose: () => void }) {
  const { t } = useTranslation("speakers");
  const [way, setWay] = useState<Way>("microphone");
  const [name, setName] = useState(who?.name ?? "");
  const [from, setFrom] = useState<Sample["from"] | null>(null);
  const [id] = useState(() => who?.speaker_id ?? `voice-${crypto.randomUUID().slice(0, 8)}`);
  const enrol = useEnrol();
  function submit(event: FormEvent) {
    event.preventDefault();
    if (!from) return;
    enrol.mutateAsync({ speakerId: id, name: name.trim(), from }).then((made) => announce(made.detail), () => undefined);
  }
  function choose(next: Way) {
    setWay(next);
    setFrom(null);
    enrol.reset();
  }
  const made = enrol.data;
  return (
    <Modal opened onClose={onClose} size="lg" title={who ? t("sample-name", { name: who.name }) : t("new")} closeButtonProps={{ "aria-label": t("shell:close") }} closeOnClickOutside={!from}>
      {made ? (
        <div className="enrol">
          <p className="notice">{made.detail}</p>
          <p className="quiet small">{t("learnt", { number: number(made.seconds, { maximumFractionDigits: 1 }), quality: percent(made.quality) })}</p>
          <div className="facts">
            <Button onClick={onClose} data-autofocus>{t("done")}</Button>
            <Button variant="default" onClick={() => choose(way)}>{t("another")}</Button>
          </div>
        </div>
      ) : (
        <form className="enrol" onSubmit={submit}>
          {!who && <TextInput label={t("name")} value={name} onChange={(event) => setName(event.currentTarget.value)} required withAsterisk={false} maxLength={100} dir="auto" data-autofocus autoComplete="off" />}
          <fieldset className="ways">
            <legend>{t("way")}</legend>
            {WAYS.map((each) => <label key={each}><input type="radio" name="way" checked={way === each} onChange={() => choose(each)} /> {t(`ways.${each}`)}</label>)}
          </fieldset>
          {way === "microphone" && <Microphone onSound={setFrom} />}
          {way === "file" && <FilePick onFile={setFrom} />}
          {way === "recording" && <FromRecording onChosen={setFrom} />}
          <Trouble what={t("refused")} why={enrol.error?.message} />
          <Button type="submit" loading={enrol.isPending} disabled={!from || !name.trim()}>{t("learn")}</Button>
          <p className="quiet small">{t("no-proof")}</p>
        </form>
      )}
    </Modal>
  );
}

function FilePick({ onFile }: { onFile: (file: File | null) => void }) {
  const { t } = useTranslation("speakers");
  return (
    <label className="file-pick">
      <span>{t("file")}</span>
      <input type="file" accept="audio/*,video/*,.wav,.flac,.mp3,.ogg,.opus,.m4a,.webm" onChange={(event) => onFile(event.target.files?.[0] ?? null)} />
      <span className="quiet small">{t("file-hint")}</span>
    </label>
  );
}
