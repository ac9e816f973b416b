/** The bar at the foot: how long, how loud, pause, stop. */
import { Button } from "@mantine/core";
import { IconPlayerPauseFilled, IconPlayerPlayFilled, IconPlayerStopFilled } from "@tabler/icons-react";
import { useEffect, useState } from "react";
import { useTranslation } from "react-i18next";
import { clock } from "../../format";
import { LevelMeter } from "../../parts/microphone/LevelMeter";
import type { Live } from "./session";

const TICK_MS = 250;

export function Controls({ live }: { live: Live }) {
  const { t } = useTranslation("live");
  const { state, pause, goOn, stop } = live;
  const ending = state === "stopping";
  return (
    <section className="live-bar" aria-label={t("controls")}>
      <Timer live={live} />
      <LevelMeter level={live.level} />
      <div className="live-buttons">
        {state === "paused" ? (
          <Button size="md" variant="default" leftSection={<IconPlayerPlayFilled size={18} />} onClick={goOn}>{t("go-on")}</Button>
        ) : (
          <Button size="md" variant="default" leftSection={<IconPlayerPauseFilled size={18} />} onClick={pause} disabled={ending}>{t("pause")}</Button>
        )}
        <Button size="md" leftSection={<IconPlayerStopFilled size={18} />} onClick={stop} loading={ending} autoFocus>{t("stop")}</Button>
      </div>
    </section>
  );
}

function Timer({ live }: { live: Live }) {
  const { t } = useTranslation("live");
  const [second, setSecond] = useState(0);
  const { heardMs } = live;
  useEffect(() => {
    const timer = setInterval(() => setSecond(Math.floor(heardMs() / 1000)), TICK_MS);
    return () => clearInterval(timer);
  }, [heardMs]);
  return (
    <span className={`live-time ${live.state}`}>
      <span className="live-dot" aria-hidden="true" />
      <span role="timer" aria-label={t("length")}>{clock(second)}</span>
      <span className="small quiet" role="status">{t(`state.${live.state}`)}</span>
    </span>
  );
}
