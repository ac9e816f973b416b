/** Talk with what was said: ask by voice, hear the answer, interrupt it by speaking. */
import { Button } from "@mantine/core";
import { IconEar, IconHandClick, IconMessages } from "@tabler/icons-react";
import { Link } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { useShortcut } from "../../app/shortcuts";
import { EmptyState } from "../../parts/EmptyState";
import { NoMicrophone } from "../../parts/microphone/NoMicrophone";
import { PageHeader } from "../../parts/PageHeader";
import { Trouble } from "../../parts/Trouble";
import { useFollow } from "../live/follow";
import { useWakeLock } from "../live/wakeLock";
import { Controls } from "./Controls";
import { useVoice, type Voice } from "./talk";
import { Turns } from "./Turns";
import "./voice.css";

export default function VoiceScreen() {
  const { t } = useTranslation("voice");
  const voice = useVoice();
  const { state, talk, mode } = voice;
  const on = state !== "idle" && state !== "asking" && state !== "ended";
  useWakeLock(on);
  useFollow(talk);
  useShortcut("Escape", t("hush"), voice.hush);
  return (
    <div className="voice">
      <PageHeader title={t("title")}>
        {talk.conversationId && <Link to="/chat" search={{ c: talk.conversationId } as never}>{t("as-text")}</Link>}
      </PageHeader>
      <NoMicrophone kind={voice.trouble} onAgain={() => voice.begin(mode)} />
      <LineTrouble voice={voice} />
      <Turns voice={voice} />
      {talk.said && !talk.said.error && <p className="notice small" role="status">{talk.said.detail}</p>}
      {on ? <Controls voice={voice} /> : <Beginning voice={voice} />}
    </div>
  );
}

function Beginning({ voice }: { voice: Voice }) {
  const { t } = useTranslation("voice");
  const busy = voice.state === "asking";
  const again = voice.talk.turns.length > 0;
  return (
    <EmptyState icon={IconMessages} title={t(again ? "again.title" : "begin.title")} text={t(again ? "again.text" : "begin.text")}>
      <Button size="md" leftSection={<IconHandClick size={18} />} disabled={busy} onClick={() => voice.begin("push")}>{t("begin.push")}</Button>
      <Button size="md" variant="default" leftSection={<IconEar size={18} />} disabled={busy} onClick={() => voice.begin("hands_free")}>{t("begin.hands_free")}</Button>
    </EmptyState>
  );
}

function LineTrouble({ voice: { state, why, talk } }: { voice: Voice }) {
  const { t } = useTranslation("voice");
  const broken = state === "broken" || state === "locked";
  if (broken) return <Trouble what={t(`${state}.what`)} why={why ?? t(`${state}.why`)} />;
  const ended = state === "ended" ? (why ?? t("ended")) : null;
  return <Trouble why={ended ?? (talk.said?.error ? talk.said.detail : null)} />;
}
