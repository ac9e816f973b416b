import { Button, TextInput } from "@mantine/core";
import { IconPencil } from "@tabler/icons-react";
import { useQueryClient } from "@tanstack/react-query";
import { useState, type FormEvent } from "react";
import { useTranslation } from "react-i18next";
import type { EnrolledSpeaker } from "../../api/client";
import { renameSpeaker, SPEAKERS, undoNaming } from "../../api/queries/speakers";
import { RECORDINGS } from "../../api/queries/recordings";
import { Trouble } from "../../parts/Trouble";
import { undoable } from "../../parts/UndoToast";

/** Another name: first which recordings would carry it, then the change, which can be taken back. */
export function Name({ who }: { who: EnrolledSpeaker }) {
  const { t } = useTranslation("speakers");
  const [editing, setEditing] = useState(false);
  if (editing) return <NameForm who={who} onClose={() => setEditing(false)} />;
  return (
    <Button variant="subtle" size="compact-md" className="rename" leftSection={<IconPencil size={16} />} onClick={() => setEditing(true)} aria-label={t("rename-name", { name: who.name })}>
      {t("rename")}
    </Button>
  );
}

function NameForm({ who, onClose }: { who: EnrolledSpeaker; onClose: () => void }) {
  const { t } = useTranslation("speakers");
  const cache = useQueryClient();
  const [name, setName] = useState(who.name);
  const [carrying, setCarrying] = useState<number | null>(null);
  const [trouble, setTrouble] = useState<string | null>(null);
  const reload = () => Promise.all([SPEAKERS, RECORDINGS].map((queryKey) => cache.invalidateQueries({ queryKey })));

  async function look() {
    const found = await renameSpeaker(who.speaker_id, name.trim(), true);
    setCarrying(found.recordings?.length ?? 0);
  }
  async function change() {
    let undoId: string | null | undefined;
    await undoable({
      message: t("renamed", { name: name.trim() }),
      action: async () => {
        undoId = (await renameSpeaker(who.speaker_id, name.trim())).undo_id;
        onClose();
        await reload();
      },
      undo: async () => {
        if (undoId) await undoNaming(undoId);
        await reload();
      },
    });
  }
  function submit(event: FormEvent) {
    event.preventDefault();
    if (name.trim() === who.name) return onClose();
    setTrouble(null);
    (carrying === null ? look() : change()).catch((error: Error) => setTrouble(error.message));
  }
  return (
    <form className="name-form" onSubmit={submit} onKeyDown={(event) => event.key === "Escape" && onClose()}>
      <TextInput label={t("name")} value={name} required withAsterisk={false} maxLength={100} dir="auto" autoFocus onChange={(event) => { setName(event.currentTarget.value); setCarrying(null); }} />
      <p className="small" role="status">{carrying !== null && t("carrying", { count: carrying, name: name.trim() })}</p>
      <Trouble why={trouble} />
      <div className="facts">
        <Button type="submit" size="compact-md">{t(carrying === null ? "look" : "change")}</Button>
        <Button variant="default" size="compact-md" onClick={onClose}>{t("cancel")}</Button>
      </div>
    </form>
  );
}
