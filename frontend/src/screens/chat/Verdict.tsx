import { IconCheck, IconHelp, IconX } from "@tabler/icons-react";
import { useTranslation } from "react-i18next";
import type { Evidence } from "./answer";

const ICONS = { supported: IconCheck, contradicted: IconX, unsupported: IconHelp } as const;

/** An icon and a word, never a colour alone. */
export function Verdict({ verdict, words }: { verdict: Evidence["verdict"]; words?: string }) {
  const { t } = useTranslation("chat");
  const Icon = ICONS[verdict];
  return <span className={`chat-verdict ${verdict}`}><Icon size={14} stroke={2.2} aria-hidden="true" />{words ?? t(`verdict.${verdict}`)}</span>;
}
