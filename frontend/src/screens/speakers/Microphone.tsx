import { Button } from "@mantine/core";
import { IconMicrophone, IconPlayerStopFilled } from "@tabler/icons-react";
import { useEffect, useState } from "react";
import { useTranslation } from "react-i18next";
import { clock } from "../../format";
import { Trouble } from "../../parts/Trouble";
import { MOST_S, useMicrophone } from "./useMicrophone";

const ENOUGH_S = 10;

/** Read the sentences aloud; hear oneself before it is sent. */
export function Microphone({ onSound }: { onSound: (file: File | null) => void }) {
  const { t } = useTranslation("speakers");
  const [sound, setSound] = useState<File | null>(null);
  const { state, refused, seconds, level, start, stop } = useMicrophone((file) => { setSound(file); onSound(file); });
  const on = state === "on";
  return (
    <div className="microphone">
      <blockquote className="reading">{t("reading")}</blockquote>
      <div className="facts">
        <Button
          variant={on ? "filled" : "default"} leftSection={on ? <IconPlayerStopFilled size={16} /> : <IconMicrophone size={16} />}
          loading={state === "asking" || state === "making"} onClick={on ? stop : start}
        >
          {t(on ? "mic.stop" : sound ? "mic.again" : "mic.start")}
        </Button>
        {on && <span className="quiet small">{clock(seconds)} / {clock(MOST_S)} · {t(seconds < ENOUGH_S ? "mic.more" : "mic.enough")}</span>}
      </div>
      {on && <meter className="level" min={0} max={1} value={level} aria-label={t("mic.level")} />}
      <span className="hidden" role="status">{on ? t("mic.on") : sound ? t("mic.there") : ""}</span>
      <Trouble what={t("mic.none")} why={refused && t(`mic.why.${refused}`, { defaultValue: t("mic.why.other") })} />
      {sound && !on && <Listen sound={sound} />}
    </div>
  );
}

function Listen({ sound }: { sound: File }) {
  const { t } = useTranslation("speakers");
  const [url, setUrl] = useState<string>();
  useEffect(() => {
    const made = URL.createObjectURL(sound);
    setUrl(made);
    return () => URL.revokeObjectURL(made);
  }, [sound]);
  return url && <audio controls src={url} aria-label={t("mic.listen")} />;
}
