import { useTranslation } from "react-i18next";
import type { ImportResult } from "../../api/client";
import { number } from "../../format";

const COUNTS = ["imported", "present", "different", "orphaned"] as const;

/** What became of each part of an archive. */
export function ImportReport({ result }: { result: ImportResult }) {
  const { t } = useTranslation("settings");
  const parts = Object.entries({ ...result.parts, files: result.files, audio: result.audio }).filter(([, part]) => COUNTS.some((count) => part[count]));
  if (parts.length === 0) return <p className="notice">{t("import.empty")}</p>;
  return (
    <div className="scroll" tabIndex={0} role="region" aria-label={t("import.report")}>
      <table className="table">
        <thead><tr><th>{t("import.part")}</th>{COUNTS.map((count) => <th key={count}>{t(`import.${count}`)}</th>)}</tr></thead>
        <tbody>
          {parts.map(([name, part]) => (
            <tr key={name}>
              <td>{t(`part.${name}`, { defaultValue: name })}</td>
              {COUNTS.map((count) => <td key={count}>{number(part[count] ?? 0)}</td>)}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
