/** What was changed and when; each state can be gone back to, and that can be taken back as well. */
import { Button } from "@mantine/core";
import { useTranslation } from "react-i18next";
import type { Transcript } from "../../api/client";
import { edits, useChange, useRevisions } from "../../api/queries/transcript";
import { day } from "../../format";
import { Skeletons } from "../../parts/Skeletons";
import { Trouble } from "../../parts/Trouble";

export function ChangesPanel({ transcript }: { transcript: Transcript }) {
  const { t } = useTranslation("recording");
  const now = transcript.revision ?? 1;
  const { data, error, refetch } = useRevisions(transcript.transcript_id, now);
  const change = useChange(transcript);
  if (error && !data) {
    return <Trouble what={t("changes.failed")} why={error.message}><Button size="compact-md" variant="default" onClick={() => void refetch()}>{t("again")}</Button></Trouble>;
  }
  if (!data) return <Skeletons lines={2} />;
  return (
    <ol className="list changes" reversed>
      {data.data.map(({ revision, kind, at }) => (
        <li key={revision} className="row">
          <span className="grow">{t(`changes.kind.${kind}`)}<br /><span className="quiet small">{day(at)}</span></span>
          {revision === now
            ? <span className="quiet small">{t("changes.now")}</span>
            : (
              <Button size="compact-md" variant="default" onClick={() => void change(t("changes.done"), () => edits(transcript).revert(revision))}>
                {t("changes.back")}<span className="hidden"> {t(`changes.kind.${kind}`)}, {day(at)}</span>
              </Button>
            )}
        </li>
      ))}
    </ol>
  );
}
