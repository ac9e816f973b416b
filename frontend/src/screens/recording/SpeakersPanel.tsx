/** Who speaks here, and naming them. */
import { Button } from "@mantine/core";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import type { SpeakerOfTranscript, Transcript } from "../../api/client";
import { clock, percent, speakerHue } from "../../format";
import { SpeakerBadge } from "../../parts/SpeakerBadge";
import { Naming } from "./Naming";

export function SpeakersPanel({ transcript }: { transcript: Transcript }) {
  const { t } = useTranslation("recording");
  const [naming, setNaming] = useState<string | null>(null);
  const { speakers = [] } = transcript;
  const all = speakers.reduce((sum, who) => sum + (who.talk_s ?? 0), 0);
  if (!speakers.length) return <p className="quiet">{t("speakers.none")}</p>;
  return (
    <ul className="list">
      {speakers.map((who) => (
        <li key={who.label} className={`person speaker-${speakerHue(who.label)}`}>
          <div className="row">
            <div className="grow">
              <SpeakerBadge label={who.label} name={who.name} />
              <How who={who} share={all ? (who.talk_s ?? 0) / all : 0} />
            </div>
            {naming !== who.label && (
              <Button variant={who.name ? "default" : "light"} size="compact-md" onClick={() => setNaming(who.label)}>
                {t(who.name ? "speakers.rename" : "speakers.name")}<span className="hidden"> {who.name ?? who.label}</span>
              </Button>
            )}
          </div>
          <div className="share" aria-hidden="true"><span style={{ width: `${all ? ((who.talk_s ?? 0) / all) * 100 : 0}%` }} /></div>
          {naming === who.label && <Naming transcript={transcript} who={who} onDone={() => setNaming(null)} />}
        </li>
      ))}
    </ul>
  );
}

function How({ who, share }: { who: SpeakerOfTranscript; share: number }) {
  const { t } = useTranslation("recording");
  return (
    <p className="quiet small">
      {clock(who.talk_s ?? 0)} · {percent(share)}
      {who.method === "voiceprint" && ` · ${t("speakers.byVoice", { share: percent(who.confidence ?? 0) })}`}
      {who.method === "manual" && ` · ${t("speakers.byYou")}`}
    </p>
  );
}
