/** The fields of a memory. Tags are words between commas. */
import { Button, Textarea, TextInput } from "@mantine/core";
import { useState, type FormEvent } from "react";
import { useTranslation } from "react-i18next";
import { Trouble } from "../../parts/Trouble";

export interface Fields {
  content: string;
  title: string | null;
  tags: string[];
  occurred_at?: string;
}

export const tagsOf = (text: string): string[] => [...new Set(text.split(/[,，、]/).map((tag) => tag.trim().replace(/^#/, "")).filter(Boolean))];

/** RFC 3339 as a field of the browser wants it, in the reader's time. */
export function localMoment(moment: string): string {
  const at = new Date(moment);
  return new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

interface Props {
  start: Fields;
  act: string;
  onSave: (fields: Fields) => Promise<unknown>;
}

export function MemoryForm({ start, act, onSave }: Props) {
  const { t } = useTranslation("memories");
  const [trouble, setTrouble] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  const was = start.occurred_at && localMoment(start.occurred_at);
  async function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const text = (name: string) => String(form.get(name) ?? "").trim();
    if (!text("content")) return setTrouble(t("form.nothing"));
    const when = text("when");
    setBusy(true);
    setTrouble(null);
    await onSave({ content: text("content"), title: text("title") || null, tags: tagsOf(text("tags")), ...(when && when !== was && { occurred_at: new Date(when).toISOString() }) })
      .catch((error: Error) => setTrouble(error.message));
    setBusy(false);
  }
  return (
    <form className="mem-form" onSubmit={(event) => void submit(event)}>
      <Textarea name="content" label={t("form.content")} defaultValue={start.content} autosize minRows={3} maxRows={14} maxLength={200_000} dir="auto" data-autofocus />
      <TextInput name="title" label={t("form.title")} defaultValue={start.title ?? ""} maxLength={200} dir="auto" />
      <TextInput name="tags" label={t("form.tags")} description={t("form.commas")} defaultValue={start.tags.join(", ")} dir="auto" />
      <TextInput name="when" type="datetime-local" label={t("form.when")} defaultValue={was} />
      <Trouble why={trouble} />
      <div className="mem-acts"><Button type="submit" loading={busy}>{act}</Button></div>
    </form>
  );
}
