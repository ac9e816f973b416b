import { useTranslation } from "react-i18next";
import { useLevel, type Level } from "./level";
import "./microphone.css";

const BARS = 24;

/** How loud it is: bars from quiet to loud. */
export function LevelMeter({ level }: { level: Level }) {
  const { t } = useTranslation("microphone");
  const share = useLevel(level);
  return (
    <div className="meter" role="meter" aria-label={t("level")} aria-valuemin={0} aria-valuemax={100} aria-valuenow={Math.round(share * 100)}>
      {Array.from({ length: BARS }, (_, at) => <span key={at} data-on={share * BARS > at || undefined} />)}
    </div>
  );
}
