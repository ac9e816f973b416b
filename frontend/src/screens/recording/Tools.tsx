/** What can be done with one turn: say it otherwise, give it to somebody else, cut it, join it, hand on its link. */
import { Button, Textarea } from "@mantine/core";
import { IconArrowMerge, IconCut, IconLink, IconPencil } from "@tabler/icons-react";
import { useState, type FormEvent, type KeyboardEvent } from "react";
import { useTranslation } from "react-i18next";
import type { Transcript } from "../../api/client";
import { edits, useChange } from "../../api/queries/transcript";
import { copy } from "./copy";
import { linkTo } from "./passage";
import { pieces } from "./words";

interface Props {
  transcript: Transcript;
  row: number;
  /** The word of this turn where the caret stands; -1 where it is elsewhere. */
  cursor: number;
  names: Record<string, string>;
  onDone: () => void;
}

export function Tools({ transcript, row, cursor, names, onDone }: Props) {
  const { t } = useTranslation("recording");
  const [writing, setWriting] = useState(false);
  const segment = transcript.segments![row]!;
  const change = useChange(transcript);
  const { segment_id: id } = segment;
  const call = edits(transcript);
  const then = (done: boolean) => done && onDone();
  const word = cursor > 0 ? pieces(segment)[cursor]?.word : undefined;
  if (writing) return <Rewrite transcript={transcript} row={row} onDone={onDone} />;
  return (
    <div className="tools" role="group" aria-label={t("tools.name")}>
      <Button size="compact-md" variant="light" leftSection={<IconPencil size={16} />} onClick={() => setWriting(true)}>{t("tools.write")}</Button>
      <select
        className="select" aria-label={t("tools.speaker")} value={segment.speaker}
        onChange={(event) => void change(t("tools.given", { name: names[event.target.value] }), () => call.segment(id, { speaker: event.target.value })).then(then)}
      >
        {Object.entries(names).map(([label, name]) => <option key={label} value={label}>{name}</option>)}
      </select>
      <Button
        size="compact-md" variant="default" leftSection={<IconCut size={16} />} disabled={word === undefined}
        onClick={() => void change(t("tools.wasSplit"), () => call.split(id, cursor)).then(then)}
      >
        {word === undefined ? t("tools.splitHow") : t("tools.split", { word })}
      </Button>
      {row < transcript.segments!.length - 1 && (
        <Button size="compact-md" variant="default" leftSection={<IconArrowMerge size={16} />} onClick={() => void change(t("tools.wasMerged"), () => call.merge(id)).then(then)}>
          {t("tools.merge")}
        </Button>
      )}
      <Button size="compact-md" variant="default" leftSection={<IconLink size={16} />} onClick={() => void copy(linkTo(transcript.transcript_id, segment.start_s))}>
        {t("select.link")}
      </Button>
    </div>
  );
}

/** The whole turn in a field. Words that stay keep their times. */
function Rewrite({ transcript, row, onDone }: Pick<Props, "transcript" | "row" | "onDone">) {
  const { t } = useTranslation("recording");
  const segment = transcript.segments![row]!;
  const [text, setText] = useState(segment.text);
  const [saving, setSaving] = useState(false);
  const change = useChange(transcript);

  async function save(event: FormEvent) {
    event.preventDefault();
    setSaving(true);
    const done = await change(t("tools.written"), () => edits(transcript).segment(segment.segment_id, { text: text.trim() }));
    setSaving(false);
    if (done) onDone();
  }
  const key = (event: KeyboardEvent<HTMLFormElement>) => {
    if (event.key === "Escape") onDone();
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) event.currentTarget.requestSubmit();
  };
  return (
    <form className="rewrite" onSubmit={(event) => void save(event)} onKeyDown={key}>
      <Textarea
        value={text} onChange={(event) => setText(event.target.value)} aria-label={t("tools.text")} description={t("tools.textHint")}
        autosize minRows={2} maxRows={12} dir="auto" autoFocus
      />
      <div className="facts">
        <Button type="submit" loading={saving}>{t("save")}</Button>
        <Button variant="default" onClick={onDone}>{t("cancel")}</Button>
      </div>
    </form>
  );
}
