/** A name for one voice: first what it would change, here and in earlier recordings; then one click does it, and one undoes it. */
import { Autocomplete, Button, Checkbox } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { useState, type FormEvent } from "react";
import { useTranslation } from "react-i18next";
import type { SpeakerOfTranscript, Transcript } from "../../api/client";
import { assignSpeakers, takeBackNames, useKeep, useKnownSpeakers, type AssignSpeakers, type SpeakersAssigned } from "../../api/queries/transcript";
import { clock, day, percent, speakerName } from "../../format";
import { Trouble } from "../../parts/Trouble";
import { undoable } from "../../parts/UndoToast";

interface Props {
  transcript: Transcript;
  who: SpeakerOfTranscript;
  onDone: () => void;
}

export function Naming({ transcript, who, onDone }: Props) {
  const { t } = useTranslation("recording");
  const [name, setName] = useState(who.name ?? "");
  const [found, setFound] = useState<SpeakersAssigned | null>(null);
  const [trouble, setTrouble] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  const { data: known } = useKnownSpeakers();
  const apply = useApply(transcript, onDone);
  const given = { label: who.label, enroll: true, ...identity(name, known?.data) };

  async function preview(event: FormEvent) {
    event.preventDefault();
    if (!name.trim()) return;
    setBusy(true);
    setTrouble(null);
    await assignSpeakers(transcript.transcript_id, { speakers: [given], preview: true, relabel: [] })
      .then(setFound).catch((error: Error) => setTrouble(error.message));
    setBusy(false);
  }
  if (found) return <Preview transcript={transcript} who={who} name={name.trim()} found={found} onBack={() => setFound(null)} onApply={(relabel) => apply(given, name.trim(), relabel)} />;
  return (
    <form className="naming" onSubmit={(event) => void preview(event)} onKeyDown={(event) => event.key === "Escape" && onDone()}>
      <Autocomplete
        label={t("speakers.who", { label: speakerName(who.label) })} value={name} onChange={setName} data={[...new Set(known?.data.map((each) => each.name))]}
        maxLength={100} autoFocus dir="auto" required comboboxProps={{ withinPortal: false }} limit={6}
      />
      <Trouble why={trouble} />
      <div className="facts">
        <Button type="submit" loading={busy}>{t("speakers.preview")}</Button>
        <Button variant="default" onClick={onDone}>{t("cancel")}</Button>
      </div>
    </form>
  );
}

/** Somebody whose voice is known by that name, else a new one. */
export function identity(name: string, known: { name: string; speaker_id: string }[] = []) {
  const same = known.filter((each) => each.name.toLowerCase() === name.trim().toLowerCase());
  return same.length === 1 ? { speaker_id: same[0]!.speaker_id } : { name: name.trim() };
}

function useApply(transcript: Transcript, onDone: () => void) {
  const { t } = useTranslation("recording");
  const cache = useQueryClient();
  const id = transcript.transcript_id;
  const keep = useKeep(id);
  const again = () => {
    for (const queryKey of [["recording"], ["recordings"], ["speakers"], ["revisions", id]]) void cache.invalidateQueries({ queryKey });
  };
  return async (given: AssignSpeakers["speakers"][number], name: string, relabel: string[]) => {
    let made: SpeakersAssigned | undefined;
    await undoable({
      message: relabel.length ? t("speakers.namedAll", { name, count: relabel.length }) : t("speakers.named", { name }),
      action: async () => {
        made = await assignSpeakers(id, { speakers: [given], relabel, preview: false });
        keep(made.transcript);
        again();
      },
      undo: async () => {
        if (made?.undo_id) await takeBackNames(made.undo_id);
        again();
      },
    });
    if (made) onDone();
  };
}

interface PreviewProps extends Omit<Props, "onDone"> {
  name: string;
  found: SpeakersAssigned;
  onBack: () => void;
  onApply: (relabel: string[]) => Promise<void>;
}

function Preview({ transcript, who, name, found, onBack, onApply }: PreviewProps) {
  const { t } = useTranslation("recording");
  const earlier = found.relabelling ?? [];
  const [chosen, setChosen] = useState(() => new Set(earlier.map((each) => each.transcript_id)));
  const [busy, setBusy] = useState(false);
  const turns = transcript.segments?.filter((each) => each.speaker === who.label).length ?? 0;
  const toggle = (id: string) => setChosen((was) => new Set(was.has(id) ? [...was].filter((each) => each !== id) : [...was, id]));
  const apply = async () => {
    setBusy(true);
    await onApply([...chosen]);
    setBusy(false);
  };
  return (
    <div className="naming" role="group" aria-label={t("speakers.changes")}>
      <p dir="auto"><strong>{t("speakers.becomes", { from: who.name ?? speakerName(who.label), to: name })}</strong></p>
      <p className="small">{t("speakers.here", { count: turns, time: clock(who.talk_s ?? 0) })}</p>
      {found.warnings?.map((each) => <p key={each.code} className="notice small">{each.detail}</p>)}
      {earlier.length === 0 && <p className="quiet small">{t("speakers.nowhere")}</p>}
      {earlier.length > 0 && (
        <fieldset className="earlier">
          <legend className="small">{t("speakers.earlier")}</legend>
          {earlier.map((each) => (
            <Checkbox
              key={`${each.transcript_id}${each.label}`} checked={chosen.has(each.transcript_id)} onChange={() => toggle(each.transcript_id)}
              label={<bdi>{each.title}</bdi>}
              description={t("speakers.alike", { share: percent(each.confidence), now: each.name_now ?? speakerName(each.label), day: day(each.created_at) })}
            />
          ))}
        </fieldset>
      )}
      <div className="facts">
        <Button onClick={() => void apply()} loading={busy} autoFocus>{t("speakers.apply")}</Button>
        <Button variant="default" onClick={onBack}>{t("speakers.back")}</Button>
      </div>
    </div>
  );
}
