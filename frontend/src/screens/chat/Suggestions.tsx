/** Before the first question: ones that the user's own recordings can answer. */
import { UnstyledButton } from "@mantine/core";
import { IconArrowUpRight, IconMessageCircle } from "@tabler/icons-react";
import { Link } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { useRecordings } from "../../api/queries/recordings";
import { EmptyState } from "../../parts/EmptyState";
import { suggestions } from "./suggestions";

export function Suggestions({ onAsk }: { onAsk: (question: string) => void }) {
  const { t } = useTranslation("chat");
  const { data, isPending } = useRecordings();
  const found = suggestions(data?.pages.flatMap((page) => page.data) ?? []);
  return (
    <>
      <EmptyState icon={IconMessageCircle} title={t("empty.title")} text={t("empty.text")}>
        {!isPending && found.length === 0 && <Link to="/">{t("empty.act")}</Link>}
      </EmptyState>
      <ul className="chat-suggestions" aria-label={t("suggest.title")}>
        {found.map(({ kind, values }) => {
          const question = t(`suggest.${kind}`, values);
          return (
            <li key={question}>
              <UnstyledButton className="chat-suggestion" onClick={() => onAsk(question)}>
                <span dir="auto">{question}</span><IconArrowUpRight size={18} stroke={1.6} aria-hidden="true" />
              </UnstyledButton>
            </li>
          );
        })}
      </ul>
    </>
  );
}
