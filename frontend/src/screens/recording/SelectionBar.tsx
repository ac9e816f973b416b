/** What can be done with selected words: hear them, keep them, hand them on. */
import { ActionIcon, Button, Tooltip } from "@mantine/core";
import { IconBookmarkPlus, IconFileText, IconFileMusic, IconLink, IconPlayerPlayFilled, IconX } from "@tabler/icons-react";
import { useEffect, useRef, useState, type RefObject } from "react";
import { useTranslation } from "react-i18next";
import { announce } from "../../app/announce";
import { useShortcut } from "../../app/shortcuts";
import type { Transcript } from "../../api/client";
import { selectedWords, type Selected } from "./caret";
import { usePassage } from "./passage";
import type { WordIndex } from "./words";

interface Props {
  root: RefObject<HTMLDivElement | null>;
  transcript: Transcript;
  index: WordIndex;
}

/** What of the transcript is selected, by mouse, finger or keys; told again when it has not moved for a moment. */
function useSelected(root: Props["root"], index: WordIndex): [Selected | null, () => void] {
  const [selected, setSelected] = useState<Selected | null>(null);
  useEffect(() => {
    let timer = 0;
    const look = () => {
      clearTimeout(timer);
      timer = window.setTimeout(() => root.current && setSelected(selectedWords(root.current, index, getSelection())), 150);
    };
    document.addEventListener("selectionchange", look);
    return () => {
      clearTimeout(timer);
      document.removeEventListener("selectionchange", look);
    };
  }, [root, index]);
  return [selected, () => (getSelection()?.removeAllRanges(), setSelected(null))];
}

export function SelectionBar({ root, transcript, index }: Props) {
  const [selected, clear] = useSelected(root, index);
  return selected && <Bar transcript={transcript} index={index} selected={selected} onClear={clear} />;
}

function Bar({ transcript, index, selected, onClear }: { transcript: Transcript; index: WordIndex; selected: Selected; onClear: () => void }) {
  const { t } = useTranslation("recording");
  const bar = useRef<HTMLDivElement>(null);
  const { play, saveSound, saveText, remember, copyLink, busy, cuttable } = usePassage(transcript, index, selected);
  const count = selected.to - selected.from + 1;
  useEffect(() => announce(t("select.told", { count })), [count, t]);
  useShortcut("a", t("select.reach"), () => bar.current?.querySelector("button")?.focus());
  useShortcut("Escape", t("select.clear"), onClear);
  const small = [
    { name: t("select.sound"), icon: IconFileMusic, run: saveSound, off: !cuttable },
    { name: t("select.text"), icon: IconFileText, run: saveText, off: false },
    { name: t("select.link"), icon: IconLink, run: copyLink, off: false },
  ];
  return (
    <div className="bar" role="toolbar" aria-label={t("select.name", { count })} ref={bar}>
      <Button leftSection={<IconPlayerPlayFilled size={16} />} onClick={play}>{t("select.play")}</Button>
      <Button variant="light" leftSection={<IconBookmarkPlus size={18} />} onClick={remember}>{t("select.remember")}</Button>
      {small.map(({ name, icon: Icon, run, off }) => (
        <Tooltip key={name} label={off ? t("select.long") : name} withinPortal={false}>
          <ActionIcon variant="default" size={36} aria-label={off ? `${name}: ${t("select.long")}` : name} onClick={run} aria-disabled={off} loading={busy && run === saveSound}>
            <Icon size={18} />
          </ActionIcon>
        </Tooltip>
      ))}
      <ActionIcon variant="subtle" color="gray" size={36} aria-label={t("select.clear")} onClick={onClear}><IconX size={18} /></ActionIcon>
    </div>
  );
}
