/** What was said, and what is being said: a partial line has the shape of the final one, so nothing jumps when it settles. */
import { Button } from "@mantine/core";
import { IconArrowDown } from "@tabler/icons-react";
import { memo } from "react";
import { useTranslation } from "react-i18next";
import { clock } from "../../format";
import { SpeakerBadge } from "../../parts/SpeakerBadge";
import type { Final, Open, Words } from "./events";
import { useFollow } from "./follow";

export function Said({ words, listening }: { words: Words; listening: boolean }) {
  const { t } = useTranslation("live");
  const { following, follow } = useFollow(words);
  return (
    <div className="said">
      <div role="log" aria-label={t("said")}>
        <ol className="list">
          {words.finals.map((final) => <Line key={final.segment_id} final={final} />)}
        </ol>
      </div>
      <div aria-live="off">
        {words.open.map((open) => <Growing key={open.utterance} open={open} />)}
        {listening && words.open.length === 0 && <p className="said-waiting quiet">{t(words.speaking ? "hearing" : "waiting")}</p>}
      </div>
      {!following && (
        <Button className="said-follow" radius="xl" size="compact-md" leftSection={<IconArrowDown size={16} />} onClick={follow}>{t("follow")}</Button>
      )}
    </div>
  );
}

const Line = memo(function Line({ final }: { final: Final }) {
  return (
    <li className="said-line">
      <span className="said-head"><SpeakerBadge label={final.speaker} name={final.name} /><span className="quiet small">{clock(final.start_s)}</span></span>
      <p dir="auto">{final.text}</p>
    </li>
  );
});

function Growing({ open }: { open: Open }) {
  const { t } = useTranslation("live");
  return (
    <div className="said-line growing">
      <span className="said-head"><span className="speaker quiet">{t("somebody")}</span><span className="quiet small">{clock(open.startS)}</span></span>
      <p dir="auto">{open.settled} <span className="loose">{open.loose}</span></p>
    </div>
  );
}
