import { Button, TextInput } from "@mantine/core";
import { useState, type FormEvent, type ReactNode } from "react";
import { useTranslation } from "react-i18next";
import type { Transcript } from "../../api/client";
import { edits, useChange } from "../../api/queries/transcript";
import { PageHeader } from "../../parts/PageHeader";

/** The title, which a click makes editable. */
export function Title({ transcript, children }: { transcript: Transcript; children: ReactNode }) {
  const { t } = useTranslation("recording");
  const [editing, setEditing] = useState(false);
  const change = useChange(transcript);

  async function save(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const title = String(new FormData(event.currentTarget).get("title")).trim();
    if (!title || title === transcript.title) return setEditing(false);
    if (await change(t("renamed", { title }), () => edits(transcript).details({ title }))) setEditing(false);
  }

  return (
    <>
      <PageHeader title={transcript.title} back={{ to: "/", name: t("recordings") }}>
        <div className="title-acts">
          {!editing && <Button variant="subtle" color="gray" onClick={() => setEditing(true)}>{t("rename")}</Button>}
          {children}
        </div>
      </PageHeader>
      {editing && (
        <form className="row" onSubmit={(event) => void save(event)} onKeyDown={(event) => event.key === "Escape" && setEditing(false)}>
          <TextInput
            className="grow" name="title" aria-label={t("title")} defaultValue={transcript.title} maxLength={200} required autoFocus dir="auto"
          />
          <Button type="submit">{t("save")}</Button>
          <Button variant="default" onClick={() => setEditing(false)}>{t("cancel")}</Button>
        </form>
      )}
    </>
  );
}
