/** One device: how much of its memory is taken, since when, and by whom. */
import { lazy, Suspense } from "react";
import { useTranslation } from "react-i18next";
import { bytes, number, percent } from "../../format";
import { usedBytes, type DeviceStatus, type HolderStatus } from "./readings";

const Chart = lazy(() => import("./Chart"));

interface Props {
  device: DeviceStatus;
  holders: HolderStatus[];
  history: [number[], number[]];
}

export function Device({ device, holders, history }: Props) {
  const { t } = useTranslation("jobs");
  const used = usedBytes(device);
  const total = device.memory_total_bytes;
  const text = t("device.used", { used: bytes(used), total: bytes(total), share: percent(total ? used / total : 0) });
  return (
    <div className="card">
      <div className="facts">
        <h3>{device.device_id}</h3>
        <span className="quiet small">{t(`device.${device.kind}`, { defaultValue: device.kind })}</span>
      </div>
      {device.alarm && <p className="notice small">{t("device.alarm", { why: device.alarm })}</p>}
      <p className="small">{text}</p>
      <meter className="meter" min={0} max={total || 1} value={used} aria-label={t("device.memory", { name: device.device_id })}>{text}</meter>
      <Suspense fallback={<div className="chart" />}><Chart times={history[0]} values={history[1]} most={total} label={t("device.chart", { name: device.device_id, now: bytes(used) })} /></Suspense>
      <p className="facts quiet small">
        <span>{t("device.reserved", { size: bytes(device.reserved_bytes) })}</span>
        <span>{t("device.reserve", { size: bytes(device.reserve_bytes) })}</span>
      </p>
      {holders.length > 0 && <Holders holders={holders} name={device.device_id} />}
    </div>
  );
}

function Holders({ holders, name }: { holders: HolderStatus[]; name: string }) {
  const { t } = useTranslation("jobs");
  return (
    <div className="scroll" tabIndex={0} role="region" aria-label={t("holder.title", { name })}>
      <table className="table">
        <thead><tr><th>{t("holder.who")}</th><th>{t("holder.state")}</th><th>{t("holder.memory")}</th><th>{t("holder.wake")}</th></tr></thead>
        <tbody>
          {holders.map((each) => (
            <tr key={each.holder_id}>
              <td>{each.holder_id}{each.turn && <span className="turn">{t("holder.turn")}</span>}</td>
              <td>{state(t, each.observed)}{each.desired !== each.observed && <> → {state(t, each.desired)}</>}{each.why && <span className="quiet small"> {each.why}</span>}</td>
              <td>{bytes(each.used_bytes ?? 0)}</td>
              <td>{each.wake_ms != null ? t("milliseconds", { count: Math.round(each.wake_ms), number: number(Math.round(each.wake_ms)) }) : "–"}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

const state = (t: (key: string, options: { defaultValue: string }) => string, word: string) => t(`observed.${word}`, { defaultValue: word });
