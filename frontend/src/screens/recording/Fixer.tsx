/** A word said otherwise, at the foot of the window: Enter saves, Tab goes to the next doubtful one, Escape ends. */
import { ActionIcon, Button, TextInput } from "@mantine/core";
import { IconPlayerPlayFilled, IconX } from "@tabler/icons-react";
import { useState, type FormEvent, type KeyboardEvent } from "react";
import { useTranslation } from "react-i18next";
import type { Transcript } from "../../api/client";
import { edits, useChange } from "../../api/queries/transcript";
import { nextUnsure, pieces, placeOf, replaceWord, type WordIndex } from "./words";

interface Props {
  transcript: Transcript;
  index: WordIndex;
  word: number;
  /** To this word; undefined: done. */
  onMove: (word: number | undefined) => void;
  onHear: () => void;
}

export function Fixer({ transcript, index, word, onMove, onHear }: Props) {
  const { t } = useTranslation("recording");
  const { row, at } = placeOf(index, word);
  const segment = transcript.segments![row]!;
  const written = pieces(segment)[at]?.word ?? "";
  const [text, setText] = useState(written);
  const [saving, setSaving] = useState(false);
  const change = useChange(transcript);
  const left = index.unsure.filter((each) => each > word).length;

  /** Saves what was changed; false where that did not work, so that nothing typed is lost. */
  async function save(): Promise<boolean> {
    const next = text.trim();
    if (next === written) return true;
    setSaving(true);
    const body = { text: replaceWord(segment, at, next) };
    const done = await change(t("fixed", { from: written, to: next || "–" }), () => edits(transcript).segment(segment.segment_id, body));
    setSaving(false);
    return done;
  }
  /** On to the next one, by the number that it has once this word became several, or none. */
  async function move(step: 1 | -1) {
    const next = nextUnsure(index, word, step);
    const more = text.trim().split(/\s+/).filter(Boolean).length - written.split(/\s+/).length;
    if (await save()) onMove(next !== undefined && step > 0 ? next + more : next);
  }
  const submit = (event: FormEvent) => {
    event.preventDefault();
    void move(1);
  };
  const key = (event: KeyboardEvent) => {
    if (event.key === "Escape") return onMove(undefined);
    if (event.key !== "Tab" || !(event.target instanceof HTMLInputElement)) return;
    event.preventDefault();
    void move(event.shiftKey ? -1 : 1);
  };

  return (
    <form className="bar" aria-label={t("fix.name")} onSubmit={submit} onKeyDown={key}>
      <ActionIcon variant="light" size={40} radius="xl" onClick={onHear} aria-label={t("fix.hear", { word: written })}>
        <IconPlayerPlayFilled size={18} />
      </ActionIcon>
      <TextInput
        className="grow" value={text} onChange={(event) => setText(event.target.value)} aria-label={t("fix.word", { word: written })}
        dir="auto" autoFocus maxLength={200} onFocus={(event) => event.target.select()} autoComplete="off" spellCheck
      />
      <Button type="submit" loading={saving}>{text.trim() === written ? t("fix.right") : t("save")}</Button>
      <ActionIcon variant="subtle" color="gray" size={40} onClick={() => onMove(undefined)} aria-label={t("fix.end")}><IconX size={18} /></ActionIcon>
      <p className="quiet small bar-note">{t("fix.keys")} {left > 0 && t("fix.left", { count: left })}</p>
    </form>
  );
}
