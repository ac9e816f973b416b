/** Voices that are known: who, how well, and where they are heard. */
import { Button } from "@mantine/core";
import { IconMicrophone, IconUsers } from "@tabler/icons-react";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import type { EnrolledSpeaker } from "../../api/client";
import { useSpeakers } from "../../api/queries/speakers";
import { useShortcut } from "../../app/shortcuts";
import { EmptyState } from "../../parts/EmptyState";
import { PageHeader } from "../../parts/PageHeader";
import { Skeletons } from "../../parts/Skeletons";
import { Trouble } from "../../parts/Trouble";
import { Enrol } from "./Enrol";
import { Merge } from "./Merge";
import { SpeakerCard } from "./SpeakerCard";
import "./speakers.css";

type Open = { enrol: EnrolledSpeaker | null } | { merge: EnrolledSpeaker } | null;

export default function Speakers() {
  const { t } = useTranslation("speakers");
  const { data: speakers, error, refetch } = useSpeakers();
  const [open, setOpen] = useState<Open>(null);
  const enrol = (who: EnrolledSpeaker | null) => setOpen({ enrol: who });
  useShortcut("n", t("new"), () => enrol(null));
  return (
    <>
      <PageHeader title={t("title")} text={t("text")}>
        <Button leftSection={<IconMicrophone size={18} />} onClick={() => enrol(null)}>{t("new")}</Button>
      </PageHeader>
      <Trouble what={t("unreadable")} why={error?.message}>
        <Button variant="default" size="compact-md" onClick={() => void refetch()}>{t("again")}</Button>
      </Trouble>
      {!speakers && !error && <Skeletons lines={3} />}
      {speakers?.length === 0 && (
        <EmptyState icon={IconUsers} title={t("empty.title")} text={t("empty.text")}>
          <Button onClick={() => enrol(null)}>{t("empty.act")}</Button>
        </EmptyState>
      )}
      <ul className="list">
        {speakers?.map((who) => (
          <SpeakerCard key={who.speaker_id} who={who} others={speakers.length > 1} onSample={() => enrol(who)} onMerge={() => setOpen({ merge: who })} />
        ))}
      </ul>
      {open && "enrol" in open && <Enrol who={open.enrol} onClose={() => setOpen(null)} />}
      {open && "merge" in open && <Merge who={open.merge} others={(speakers ?? []).filter((each) => each !== open.merge)} onClose={() => setOpen(null)} />}
    </>
  );
}
