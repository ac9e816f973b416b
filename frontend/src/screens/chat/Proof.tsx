/** The verdict on one sentence, and what it rests on. */
import { UnstyledButton } from "@mantine/core";
import { useTranslation } from "react-i18next";
import type { Citation } from "../../api/client";
import type { Evidence } from "./answer";
import { Chip } from "./Citation";
import { Verdict } from "./Verdict";

/** Behind its sentence; opens and closes the grounds below the words. */
export function ProofButton({ evidence, open, onToggle }: { evidence: Evidence; open: boolean; onToggle: () => void }) {
  const { t } = useTranslation("chat");
  return (
    <UnstyledButton
      className="chat-mark" aria-expanded={open} onClick={onToggle}
      aria-label={t("verdict.open", { verdict: t(`verdict.${evidence.verdict}`), sentence: evidence.sentence })}
    >
      <Verdict verdict={evidence.verdict} />
    </UnstyledButton>
  );
}

export function Grounds({ evidence, citations }: { evidence: Evidence; citations: readonly Citation[] }) {
  const { t } = useTranslation("chat");
  const { verdict, sentence, why, citation: number, quotes = [], method } = evidence;
  const shown = number != null ? citations[number - 1] : undefined;
  return (
    <section className="chat-grounds" aria-label={t("grounds")} role="status">
      <q className="small quiet" dir="auto">{sentence}</q>
      <p className="small">{t(`because.${verdict}`)}{why && <>{" "}{t(`why.${why}`, { defaultValue: "" })}</>}</p>
      {shown && number != null && (
        <>
          <blockquote className="small" dir="auto">{shown.quote}</blockquote>
          <Chip citation={shown} number={number} />
        </>
      )}
      {quotes.map((each) => <p key={each.quote} className="small" dir="auto">“{each.quote}”: {t(`match.${each.match}`)}</p>)}
      <p className="quiet small">{t(method.includes("embedding") ? "method.alike" : "method.words")}</p>
    </section>
  );
}
