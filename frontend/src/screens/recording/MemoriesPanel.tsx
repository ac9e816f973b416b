/** What is remembered from this recording: facts with the words that they come from, and notes that somebody kept. */
import { Button } from "@mantine/core";
import { IconBulb } from "@tabler/icons-react";
import { useTranslation } from "react-i18next";
import {
  acceptFact, evidenceIn, forget, noteSource, rejectFact, undoFact, useHide, useRemembered, useRememberedAgain, type Fact, type Memory,
} from "../../api/queries/remembered";
import { percent } from "../../format";
import { EmptyState } from "../../parts/EmptyState";
import { Skeletons } from "../../parts/Skeletons";
import { TimeCode } from "../../parts/TimeCode";
import { Trouble } from "../../parts/Trouble";
import { undoable, undoableLater } from "../../parts/UndoToast";

interface Props {
  id: string;
  title: string;
}

export function MemoriesPanel({ id, title }: Props) {
  const { t } = useTranslation("recording");
  const { data, error, refetch } = useRemembered(id);
  if (error && !data) {
    return <Trouble what={t("memories.failed")} why={error.message}><Button size="compact-md" variant="default" onClick={() => void refetch()}>{t("again")}</Button></Trouble>;
  }
  if (!data) return <Skeletons lines={2} />;
  if (!data.facts.length && !data.notes.length) return <EmptyState icon={IconBulb} title={t("memories.none")} text={t("memories.noneText")} />;
  return (
    <ul className="list">
      {data.facts.map((fact) => <HeardFact key={fact.memory_id} fact={fact} id={id} title={title} />)}
      {data.notes.map((note) => <KeptNote key={note.memory_id} note={note} id={id} title={title} />)}
    </ul>
  );
}

/** A fact, and where it was heard. Forgetting it is taken back by the server, which also will not learn it again. */
function HeardFact({ fact, id, title }: Props & { fact: Fact }) {
  const { t } = useTranslation("recording");
  const again = useRememberedAgain(id);
  const evidence = evidenceIn(fact, id);
  const { memory_id } = fact;
  const change = (message: string, call: (memoryId: string) => Promise<unknown>) => void undoable({
    message,
    action: () => call(memory_id).then(again),
    undo: () => undoFact(memory_id).then(again),
  });
  return (
    <li className="claim">
      <p dir="auto">{fact.content}</p>
      {evidence && <blockquote dir="auto">{evidence.quote}</blockquote>}
      <div className="facts small">
        {evidence?.start_s != null && <TimeCode transcriptId={id} startS={evidence.start_s} endS={evidence.end_s} title={title} />}
        <span className="quiet">{t("memories.sure", { share: percent(fact.confidence) })}</span>
        {fact.state === "pending" && (
          <button className="textual" onClick={() => change(t("memories.accepted"), acceptFact)}>{t("memories.accept")}</button>
        )}
        <button className="textual" onClick={() => change(t("memories.forgotten"), rejectFact)}>{t("memories.forget")}</button>
      </div>
    </li>
  );
}

function KeptNote({ note, id, title }: Props & { note: Memory }) {
  const { t } = useTranslation("recording");
  const again = useRememberedAgain(id);
  const hide = useHide(id);
  const second = noteSource(note.tags ?? [])?.second ?? null;
  const drop = () => undoableLater({
    message: t("memories.forgotten"),
    hide: () => hide(note.memory_id),
    commit: () => forget(note.memory_id).then(again),
    restore: () => void again(),
  });
  return (
    <li className="claim">
      <p dir="auto" className="note">{note.content}</p>
      <div className="facts small">
        {second !== null && <TimeCode transcriptId={id} startS={second} title={title} />}
        <span className="quiet">{t("memories.kept")}</span>
        <button className="textual" onClick={drop}>{t("memories.forget")}</button>
      </div>
    </li>
  );
}
