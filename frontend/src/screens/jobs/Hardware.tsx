/** Devices, who holds their memory, who waits, and what moved last: live. */
import { IconCpu } from "@tabler/icons-react";
import { useTranslation } from "react-i18next";
import { useGpu } from "../../api/queries/gpu";
import type { GpuStatus } from "../../api/client";
import { number } from "../../format";
import { Skeletons } from "../../parts/Skeletons";
import { Trouble } from "../../parts/Trouble";
import { Device } from "./Device";
import { isGpu, readings, useReadings } from "./readings";
import { Swaps } from "./Swaps";

export function Hardware() {
  const { t } = useTranslation("jobs");
  const { status, trouble } = useGpu();
  return (
    <section aria-labelledby="hardware">
      <h2 id="hardware" className="job-heading">{t("hardware")}</h2>
      <Trouble what={t("gpu.unreadable")} why={trouble}><span className="small">{t("gpu.asking")}</span></Trouble>
      {status ? <Picture status={status} /> : !trouble && <Skeletons lines={2} />}
    </section>
  );
}

function Picture({ status }: { status: GpuStatus }) {
  const { t } = useTranslation("jobs");
  const history = useReadings(status);
  const gpu = status.devices.some(isGpu);
  return (
    <>
      {!gpu && (
        <div className="card row">
          <IconCpu size={28} stroke={1.4} aria-hidden="true" />
          <div className="grow">
            <h3>{t("gpu.none")}</h3>
            <p className="quiet small">{t("gpu.none-text")}</p>
          </div>
        </div>
      )}
      {status.devices.map((device) => (
        <Device key={device.device_id} device={device} holders={status.holders.filter((each) => each.device_id === device.device_id)} history={readings(history, device.device_id)} />
      ))}
      <Queue status={status} />
      <Swaps swaps={status.last_swaps ?? []} />
    </>
  );
}

const CLASSES = ["interactive", "background"] as const;

function Queue({ status }: { status: GpuStatus }) {
  const { t } = useTranslation("jobs");
  return (
    <div className="card">
      <h3>{t("queue.title")}</h3>
      <dl className="figures">
        <div><dt>{t("queue.running")}</dt><dd>{number(status.running)}</dd></div>
        {CLASSES.map((name) => (
          <div key={name}>
            <dt>{t(`queue.${name}`)}</dt>
            <dd>{number(status.queue[name] ?? 0)}{oldest(status.oldest_wait_s?.[name]) && <span className="quiet small"> {t("queue.oldest", { seconds: oldest(status.oldest_wait_s?.[name]) })}</span>}</dd>
          </div>
        ))}
      </dl>
    </div>
  );
}

const oldest = (seconds: number | undefined) => (seconds && seconds >= 1 ? number(Math.round(seconds)) : "");
