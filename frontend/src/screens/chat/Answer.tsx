/** One answer: the quotations first, then the model's words, then what there is to know about both. */
import { Button } from "@mantine/core";
import { IconCheck, IconCopy, IconRefresh } from "@tabler/icons-react";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { announce } from "../../app/announce";
import { Trouble } from "../../parts/Trouble";
import type { Answer, Draft } from "./answer";
import { copyText } from "./copy";
import { QuotationItem } from "./Quotation";
import { split } from "./split";
import { Words } from "./Words";

interface Props {
  question: string | null;
  answer: Answer | null;
  onAgain: (question: string) => void;
}

export function AnswerCard({ question, answer, onAgain }: Props) {
  const { t } = useTranslation("chat");
  if (!answer || (answer.state === "gone" && !answer.text)) {
    return question !== null && <Trouble what={t("failed")} why={t("lost")}><Again question={question} onAgain={onAgain} /></Trouble>;
  }
  const parts = split(answer.text, answer.citations);
  const over = answer.state !== "working";
  const nearest = parts.quotations.length > 0 && parts.quotations.every(({ citation }) => citation.related);
  return (
    <div className="chat-answer" aria-busy={!over}>
      {nearest && <p className="chat-nearest">{t("nearest")}</p>}
      {parts.quotations.length > 0 && (
        <ol className="chat-quotations" aria-label={t(nearest ? "nearest-list" : "evidence")}>
          {parts.quotations.map((quotation) => <QuotationItem key={quotation.number} quotation={quotation} checked={answer.evidence} />)}
        </ol>
      )}
      {parts.words && <Words text={answer.text} parts={parts} citations={answer.citations} evidence={answer.evidence} />}
      {!over && <Working answer={answer as Draft} />}
      <Notices answer={answer} quoted={parts.quotations.length > 0 && !nearest} />
      <Trouble what={t("failed")} why={answer.state === "failed" || answer.state === "gone" ? (answer.trouble ?? t("lost")) : null}>
        {question !== null && <Again question={question} onAgain={onAgain} />}
      </Trouble>
      {over && answer.text && <Acts answer={answer} question={question} onAgain={onAgain} />}
    </div>
  );
}

/** What it is doing now, in a line that keeps its height. */
function Working({ answer }: { answer: Draft }) {
  const { t } = useTranslation("chat");
  const ahead = answer.stage === "waiting" && answer.ahead !== null;
  const stage = ["asking", "searching", "writing", "extractive", "waiting"].includes(answer.stage) ? answer.stage : "waiting";
  const words = answer.mending ? t("mending") : ahead ? t("ahead", { count: answer.ahead ?? 0 }) : t(`stage.${stage}`);
  return <p className="chat-working quiet small" role="status"><span className="chat-dots" aria-hidden="true"><i /><i /><i /></span>{words}</p>;
}

function Notices({ answer, quoted }: { answer: Answer; quoted: boolean }) {
  const { t } = useTranslation("chat");
  const { context, state } = answer;
  const said = state === "cancelled" ? t("stopped") : (answer.notice ?? (state === "complete" && answer.model === "extractive" && quoted ? t("quotations-only") : null));
  const memories = context?.memories_left_out ?? 0;
  const turns = context?.turns_left_out ?? 0;
  const out = [memories > 0 && t("out.memories", { count: memories }), turns > 0 && t("out.turns", { count: turns })].filter(Boolean);
  if (!said && !out.length) return null;
  return (
    <div className="chat-notices small">
      {said && <p dir="auto">{said}</p>}
      {out.length > 0 && <p>{t("out.why", { what: out.join(", ") })}</p>}
    </div>
  );
}

function Again({ question, onAgain }: { question: string; onAgain: (question: string) => void }) {
  const { t } = useTranslation("chat");
  return <Button size="compact-md" variant="default" leftSection={<IconRefresh size={16} />} onClick={() => onAgain(question)}>{t("retry")}</Button>;
}

function Acts({ answer, question, onAgain }: { answer: Answer; question: string | null; onAgain: (question: string) => void }) {
  const { t } = useTranslation("chat");
  const [copied, setCopied] = useState(false);
  const Icon = copied ? IconCheck : IconCopy;
  async function copy() {
    setCopied(await copyText(answer.text));
    announce(t("copied"));
  }
  return (
    <div className="chat-acts">
      <Button size="compact-sm" variant="subtle" color="gray" leftSection={<Icon size={16} />} onClick={() => void copy()}>{copied ? t("copied") : t("copy")}</Button>
      {question !== null && answer.state !== "failed" && answer.state !== "gone" && (
        <Button size="compact-sm" variant="subtle" color="gray" leftSection={<IconRefresh size={16} />} onClick={() => onAgain(question)}>{t("retry")}</Button>
      )}
    </div>
  );
}
