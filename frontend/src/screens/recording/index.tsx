/** One recording: who said what, every word to be heard, put right, kept. `?t=` is the second to begin at. */
import { Button } from "@mantine/core";
import { useMediaQuery } from "@mantine/hooks";
import { IconWaveSine } from "@tabler/icons-react";
import { useQueryClient } from "@tanstack/react-query";
import { Link, useParams, useSearch } from "@tanstack/react-router";
import { useEffect, useMemo } from "react";
import { useTranslation } from "react-i18next";
import type { Transcript as Whole } from "../../api/client";
import { useRecording } from "../../api/queries/recordings";
import { clock, day, speakerName } from "../../format";
import { EmptyState } from "../../parts/EmptyState";
import { usePlayer } from "../../parts/MomentPlayer";
import { Skeletons } from "../../parts/Skeletons";
import { Trouble } from "../../parts/Trouble";
import { Delete, Exports } from "./Actions";
import { ChangesPanel } from "./ChangesPanel";
import { Deck } from "./Deck";
import { MemoriesPanel } from "./MemoriesPanel";
import { Panels, type Panel } from "./Panels";
import { SpeakersPanel } from "./SpeakersPanel";
import { SummaryPanel } from "./SummaryPanel";
import { Tags } from "./Tags";
import { Title } from "./Title";
import { Transcript } from "./Transcript";
import { Working } from "./Working";
import "./recording.css";

const BESIDE = "(min-width: 75rem)";

export default function Recording() {
  const { id = "" } = useParams({ strict: false }) as { id?: string };
  const { t } = useTranslation("recording");
  const { data: transcript, error, refetch } = useRecording(id);
  if (error && !transcript) {
    return (
      <Trouble what={t("unreadable")} why={error.message}>
        <Button size="compact-md" variant="default" onClick={() => void refetch()}>{t("again")}</Button>
        <Link to="/">{t("back")}</Link>
      </Trouble>
    );
  }
  if (!transcript) return <Skeletons lines={5} />;
  return <Page key={id} transcript={transcript} />;
}

/** Opened with a second in the address, it plays from there; else it only fetches the beginning of the sound. */
function useOpening({ transcript_id: id, title }: Whole) {
  const { t: at } = useSearch({ strict: false }) as { t?: string };
  const { play, prepare, playing } = usePlayer();
  useEffect(() => {
    if (at !== undefined && Number.isFinite(Number(at))) void play(id, Number(at), null, title);
    else if (!playing) void prepare(id, title);
  }, [id, at]); // eslint-disable-line
}

function Page({ transcript }: { transcript: Whole }) {
  const { t } = useTranslation("recording");
  const cache = useQueryClient();
  const beside = useMediaQuery(BESIDE, undefined, { getInitialValueInEffect: false });
  const { transcript_id: id, title, status, segments = [], speakers, warnings } = transcript;
  const done = status === "completed";
  useOpening(transcript);
  const names = useMemo(() => {
    const labels = [...new Set([...(speakers ?? []).map((who) => who.label), ...segments.map((each) => each.speaker)])];
    return Object.fromEntries(labels.map((label) => [label, speakers?.find((who) => who.label === label)?.name ?? speakerName(label)]));
  }, [speakers, segments]);
  const words = (
    <>
      {done && !segments.length && <EmptyState icon={IconWaveSine} title={t("silent.title")} text={t("silent.text")} />}
      {segments.length > 0 && <Transcript transcript={transcript} names={names} editable={done} />}
    </>
  );
  const panels: Panel[] = [
    { name: "summary", show: () => <SummaryPanel id={id} title={title} /> },
    { name: "speakers", show: () => <SpeakersPanel transcript={transcript} /> },
    { name: "memories", show: () => <MemoriesPanel id={id} title={title} /> },
    { name: "changes", show: () => <ChangesPanel transcript={transcript} /> },
  ];
  return (
    <article className="wide recording">
      <Title transcript={transcript}>{done && <Exports id={id} />}<Delete transcript={transcript} /></Title>
      <Facts transcript={transcript} />
      <Tags transcript={transcript} />
      <Working transcript={transcript} onChange={() => void cache.invalidateQueries({ queryKey: ["recording", id] })} />
      {warnings?.map((each) => <p key={each.code} className="notice small">{each.detail}</p>)}
      <Deck transcript={transcript} names={names} />
      {!done && words}
      {done && !beside && <Panels panels={[{ name: "transcript", show: () => words }, ...panels]} />}
      {done && beside && <div className="desk"><div>{words}</div><aside aria-label={t("panels.name")}><Panels panels={panels} /></aside></div>}
    </article>
  );
}

function Facts({ transcript }: { transcript: Whole }) {
  return (
    <p className="facts quiet small">
      <span>{day(transcript.created_at)}</span>
      {transcript.duration_s != null && <span>{clock(transcript.duration_s)}</span>}
      {transcript.language && <span>{transcript.language}</span>}
      {transcript.context && <bdi>{transcript.context}</bdi>}
    </p>
  );
}
