/** The question: Enter asks, Shift-Enter begins a new line; on a phone Enter is a new line and the button asks. */
import { ActionIcon, Textarea } from "@mantine/core";
import { IconArrowUp, IconPlayerStopFilled } from "@tabler/icons-react";
import { useState, type FormEvent, type KeyboardEvent } from "react";
import { useTranslation } from "react-i18next";

const LONGEST = 32_000;
const fingers = () => matchMedia("(pointer: coarse)").matches;

export function asks(event: Pick<KeyboardEvent, "key" | "shiftKey" | "ctrlKey" | "metaKey"> & { composing: boolean }, touch: boolean): boolean {
  if (event.key !== "Enter" || event.composing) return false;
  return event.ctrlKey || event.metaKey || (!event.shiftKey && !touch);
}

export function Composer({ first, busy, onAsk, onStop }: { first: string; busy: boolean; onAsk: (question: string) => void; onStop: () => void }) {
  const { t } = useTranslation("chat");
  const [text, setText] = useState(first);
  function submit(event?: FormEvent) {
    event?.preventDefault();
    const question = text.trim();
    if (!question || busy) return;
    setText("");
    onAsk(question);
  }
  function pressed(event: KeyboardEvent<HTMLTextAreaElement>) {
    if (!asks({ key: event.key, shiftKey: event.shiftKey, ctrlKey: event.ctrlKey, metaKey: event.metaKey, composing: event.nativeEvent.isComposing }, fingers())) return;
    event.preventDefault();
    submit();
  }
  return (
    <form className="chat-ask" onSubmit={submit}>
      <Textarea
        id="question" className="grow" size="md" variant="unstyled" autosize minRows={1} maxRows={8} maxLength={LONGEST} dir="auto" autoFocus={!fingers()} autoComplete="off"
        aria-label={t("label")} placeholder={t("label")} value={text} onChange={(event) => setText(event.currentTarget.value)} onKeyDown={pressed}
      />
      {busy ? (
        <ActionIcon size={40} radius="xl" variant="default" onClick={onStop} aria-label={t("stop")}><IconPlayerStopFilled size={18} /></ActionIcon>
      ) : (
        <ActionIcon size={40} radius="xl" type="submit" aria-label={t("act")} data-idle={!text.trim() || undefined}><IconArrowUp size={20} /></ActionIcon>
      )}
    </form>
  );
}
