import { useTranslation } from "react-i18next";
import { day } from "../../format";
import type { Evidence } from "./answer";
import { Chip } from "./Citation";
import { Verdict } from "./Verdict";
import type { Quotation } from "./split";

/** What somebody said, to the letter; below it who and when, to be played. */
export function QuotationItem({ quotation, checked }: { quotation: Quotation; checked: readonly Evidence[] }) {
  const { t } = useTranslation("chat");
  const { citation, number, title } = quotation;
  const exact = checked.find((each) => each.method === "exact" && each.citation === number);
  return (
    <li className="chat-quotation">
      <blockquote dir="auto">{citation.quote}</blockquote>
      <p className="chat-source">
        <Chip citation={citation} number={number} title={title} />
        {citation.occurred_at && <span className="quiet small">{day(citation.occurred_at)}</span>}
        {exact && <Verdict verdict={exact.verdict} words={exact.verdict === "supported" ? t("verdict.exact") : undefined} />}
      </p>
      {citation.superseded_by != null && <p className="small quiet">{t("superseded", { number: citation.superseded_by })}</p>}
    </li>
  );
}
