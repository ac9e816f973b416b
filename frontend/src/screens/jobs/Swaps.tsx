import { useTranslation } from "react-i18next";
import type { GpuStatus } from "../../api/client";
import { bytes, number } from "../../format";

const SHOWN = 10;
type Swap = NonNullable<GpuStatus["last_swaps"]>[number];

/** What was moved in and out of a device last, and how long it took. */
export function Swaps({ swaps }: { swaps: Swap[] }) {
  const { t } = useTranslation("jobs");
  if (swaps.length === 0) return null;
  return (
    <div className="card">
      <h3 id="swaps">{t("swaps.title")}</h3>
      <div className="scroll" tabIndex={0} role="region" aria-labelledby="swaps">
        <table className="table">
          <thead><tr><th>{t("swaps.when")}</th><th>{t("holder.who")}</th><th>{t("swaps.what")}</th><th>{t("holder.memory")}</th><th>{t("swaps.took")}</th></tr></thead>
          <tbody>{swaps.slice(0, SHOWN).map((each) => <Row key={`${each.at} ${each.holder_id} ${each.epoch}`} swap={each} />)}</tbody>
        </table>
      </div>
    </div>
  );
}

function Row({ swap }: { swap: Swap }) {
  const { t, i18n } = useTranslation("jobs");
  const took = swap.done_ms == null ? "–" : t("milliseconds", { count: Math.round(swap.done_ms), number: number(Math.round(swap.done_ms)) });
  return (
    <tr>
      <td>{new Date(swap.at).toLocaleTimeString(i18n.resolvedLanguage)}</td>
      <td>{swap.holder_id}</td>
      <td>{swap.what}<span className="quiet small"> {swap.why}</span></td>
      <td>{bytes(swap.bytes)}</td>
      <td>{took}</td>
    </tr>
  );
}
