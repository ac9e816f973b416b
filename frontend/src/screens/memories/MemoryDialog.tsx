/** One memory in full: its words, where they were heard, to be changed or forgotten; and a new one. */
import { Button, Modal } from "@mantine/core";
import { IconPencil, IconTrash } from "@tabler/icons-react";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { announce } from "../../app/announce";
import { editMemory, useMemory, useRemember, useStale, type Memory } from "../../api/queries/memories";
import { day } from "../../format";
import { Skeletons } from "../../parts/Skeletons";
import { SpeakerBadge } from "../../parts/SpeakerBadge";
import { Trouble } from "../../parts/Trouble";
import { undoable } from "../../parts/UndoToast";
import { Origin, short, useForget } from "./Card";
import { rowOfMemory } from "./filters";
import { MemoryForm, type Fields } from "./MemoryForm";

export function NewMemoryDialog({ onClose }: { onClose: () => void }) {
  const { t } = useTranslation("memories");
  const remember = useRemember();
  const save = (fields: Fields) =>
    remember.mutateAsync({ ...fields, memory_type: "note" }).then(() => {
      announce(t("saved"));
      onClose();
    });
  return (
    <Modal opened onClose={onClose} title={t("add")} size="lg" closeButtonProps={{ "aria-label": t("close") }}>
      <MemoryForm start={{ content: "", title: null, tags: [] }} act={t("form.add")} onSave={save} />
    </Modal>
  );
}

export function MemoryDialog({ id, onClose }: { id: string; onClose: () => void }) {
  const { t } = useTranslation("memories");
  const { data: memory, error } = useMemory(id);
  const [editing, setEditing] = useState(false);
  return (
    <Modal opened onClose={onClose} title={t(editing ? "edit" : "one")} size="lg" closeButtonProps={{ "aria-label": t("close") }}>
      <Trouble what={t("unreadable")} why={memory ? null : error?.message} />
      {!memory && !error && <Skeletons lines={2} />}
      {memory && (editing ? <Edit memory={memory} onEnd={() => setEditing(false)} /> : <Shown memory={memory} onEdit={() => setEditing(true)} onClose={onClose} />)}
    </Modal>
  );
}

function Shown({ memory, onEdit, onClose }: { memory: Memory; onEdit: () => void; onClose: () => void }) {
  const { t } = useTranslation("memories");
  const forget = useForget();
  const row = rowOfMemory(memory);
  // What was said or stands in a file is changed there, not here.
  const ours = !memory.transcript_id && memory.memory_type !== "document";
  function forgetIt() {
    forget(row);
    onClose();
  }
  return (
    <>
      {memory.title && <h3 dir="auto">{memory.title}</h3>}
      <p className="mem-whole" dir="auto">{memory.content}</p>
      <div className="facts quiet small">
        <span>{day(memory.occurred_at)}</span>
        {memory.speaker && <SpeakerBadge label={memory.speaker} />}
        <Origin row={row} />
        {row.tags.map((tag) => <span key={tag}><bdi>#{tag}</bdi></span>)}
      </div>
      <p className="quiet small">{t("forget-means")}</p>
      <div className="mem-acts">
        {ours && <Button variant="light" leftSection={<IconPencil size={18} />} onClick={onEdit}>{t("edit")}</Button>}
        <Button variant="default" leftSection={<IconTrash size={18} />} onClick={forgetIt}>{t("forget")}</Button>
      </div>
    </>
  );
}

function Edit({ memory, onEnd }: { memory: Memory; onEnd: () => void }) {
  const { t } = useTranslation("memories");
  const stale = useStale();
  const { memory_id: id, content, title = null, tags = [], occurred_at } = memory;
  async function save(fields: Fields) {
    await editMemory(id, fields, memory.revision);
    await stale();
    onEnd();
    const undo = () => editMemory(id, { content, title, tags, occurred_at }).then(stale);
    await undoable({ message: t("changed", { text: short(fields.content) }), action: async () => undefined, undo });
  }
  return <MemoryForm start={{ content, title, tags, occurred_at }} act={t("form.save")} onSave={save} />;
}
