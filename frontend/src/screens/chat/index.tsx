/** Ask about what was said; every answer plays its evidence. `?c=` is the conversation, so that back and reload keep it; `?q=` is a question to
 *  begin with, which is not asked before somebody does. */
import { ActionIcon, Button, Drawer } from "@mantine/core";
import { IconMessages, IconPlus } from "@tabler/icons-react";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { useEffect, useState } from "react";
import { useTranslation } from "react-i18next";
import { useShortcut } from "../../app/shortcuts";
import { useConversation } from "../../api/queries/conversations";
import { PageHeader } from "../../parts/PageHeader";
import { Skeletons } from "../../parts/Skeletons";
import { Trouble } from "../../parts/Trouble";
import { turnsOf, type Draft } from "./answer";
import { Composer } from "./Composer";
import { Conversations } from "./Conversations";
import { useAnswers, keptAnswer, type Answers } from "./live";
import { Suggestions } from "./Suggestions";
import { Thread } from "./Thread";
import "./chat.css";

export default function Chat() {
  const { t } = useTranslation("chat");
  const { c: id, q: first } = useSearch({ strict: false }) as { c?: string; q?: string };
  const navigate = useNavigate();
  const [listed, setListed] = useState(false);
  const begin = () => void navigate({ to: "/chat" }).then(() => document.getElementById("question")?.focus());
  useShortcut("n", t("new"), begin);
  return (
    <div className="wide">
      <PageHeader title={t("title")}>
        <ActionIcon className="chat-narrow" variant="default" size={40} aria-label={t("list.title")} onClick={() => setListed(true)}><IconMessages size={20} stroke={1.6} /></ActionIcon>
        <ActionIcon className="chat-narrow" variant="light" size={40} aria-label={t("new")} onClick={begin}><IconPlus size={20} /></ActionIcon>
        <Button className="chat-broad" variant="light" leftSection={<IconPlus size={18} />} onClick={begin}>{t("new")}</Button>
      </PageHeader>
      <div className="chat">
        <aside className="chat-side"><Conversations shown={id} /></aside>
        <Talk key={id ?? "new"} id={id} first={first ?? ""} />
      </div>
      <Drawer opened={listed} onClose={() => setListed(false)} title={t("list.title")} closeButtonProps={{ "aria-label": t("list.close") }}>
        <Conversations shown={id} onChosen={() => setListed(false)} />
      </Drawer>
    </div>
  );
}

/** The draft of a question asked here before it has a conversation; the address follows once it has. */
function useBegun(id: string | undefined, drafts: readonly Draft[]) {
  const [key, setKey] = useState<string | null>(null);
  const navigate = useNavigate();
  const home = drafts.find((draft) => draft.key === key)?.conversationId;
  useEffect(() => {
    if (!id && home) void navigate({ to: "/chat", search: { c: home } as never, replace: true });
  }, [id, home, navigate]);
  return { mine: drafts.filter((draft) => (id ? draft.conversationId === id : draft.key === key)), setKey };
}

/** An answer that was being written when this page was loaded is read on. */
function useResume(id: string | undefined, answers: Answers, conversation: ReturnType<typeof useConversation>["data"]) {
  useEffect(() => {
    const last = conversation?.messages?.at(-1);
    const asked = conversation?.messages?.findLast((message) => message.role === "user")?.content;
    if (!id || !last || asked === undefined) return;
    const waiting = last.role === "assistant" ? (last.status === "streaming" ? last.message_id : undefined) : keptAnswer(id);
    if (waiting) answers.resume(asked, id, waiting);
  }, [id, answers, conversation]);
}

function Talk({ id, first }: { id: string | undefined; first: string }) {
  const { t } = useTranslation("chat");
  const { drafts, answers } = useAnswers(t("said.done"));
  const { data: conversation, error, refetch } = useConversation(id);
  const { mine, setKey } = useBegun(id, drafts);
  useResume(id, answers, conversation);
  const turns = turnsOf(conversation?.messages ?? [], mine);
  const working = mine.find((draft) => draft.state === "working");

  function ask(question: string) {
    setKey(answers.ask(question, id ?? null));
  }
  function again(question: string) {
    mine.filter((draft) => draft.state === "failed" && !draft.messageId).forEach((draft) => answers.drop(draft.key));
    ask(question);
  }
  return (
    <section className="chat-talk" aria-label={conversation?.title ?? t("new")}>
      {conversation && <h2 className="chat-name" dir="auto">{conversation.title}</h2>}
      {!turns.length && error && (
        <Trouble what={t("unreadable")} why={error.message}><Button size="compact-md" variant="default" onClick={() => void refetch()}>{t("again")}</Button></Trouble>
      )}
      {id && !turns.length && !error && <Skeletons lines={3} />}
      {!id && !turns.length && <Suggestions onAsk={ask} />}
      <Thread turns={turns} onAgain={again} />
      <Composer first={first} busy={working !== undefined} onAsk={ask} onStop={() => working && answers.stop(working)} />
    </section>
  );
}
