import { useTranslation } from "react-i18next";

const SURE = 0.6;

/** How somebody sounded. A guess is drawn dashed and says that it is one. */
export function EmotionBadge({ label, confidence }: { label?: string | null; confidence?: number | null }) {
  const { t } = useTranslation("parts");
  if (!label) return null;
  const guess = confidence != null && confidence < SURE;
  const word = t(`emotion.${label}`, { defaultValue: label });
  return <span className={`emotion ${label}${guess ? " guess" : ""}`}>{guess ? t("perhaps", { word }) : word}</span>;
}
