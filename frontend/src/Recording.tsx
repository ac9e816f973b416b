import { useEffect, useMemo, useRef, useState, type FormEvent } from "react";
import { api, audioUrl, download, type Segment, type Transcript } from "./api/client";
import { clock, day, speakerName, speakerNumber } from "./format";
import { Emotion, Skeleton, Trouble } from "./parts";

const FORMATS = ["txt", "md", "srt", "vtt", "csv", "json", "rttm"];
const UNSURE = 0.5;

export function Recording({ id, at }: { id: string; at: number | null }) {
  const [transcript, setTranscript] = useState<Transcript | null>(null);
  const [trouble, setTrouble] = useState<string | null>(null);
  const [source, setSource] = useState<string | null>(null);
  const [now, setNow] = useState(-1);
  const player = useRef<HTMLAudioElement>(null);

  useEffect(() => {
    let mine = true;
    let url: string | null = null;
    const load = async () => {
      const found = await api.transcript(id);
      if (!mine) return;
      setTranscript(found);
      if (found.status === "queued" || found.status === "processing") setTimeout(() => mine && void load(), 1500);
    };
    load().catch((error: Error) => setTrouble(error.message));
    audioUrl(id).then((made) => (mine ? setSource((url = made)) : URL.revokeObjectURL(made))).catch(() => undefined);
    return () => {
      mine = false;
      if (url) URL.revokeObjectURL(url);
    };
  }, [id]);

  function play(second: number) {
    const element = player.current;
    if (!element) return;
    element.currentTime = second;
    void element.play().catch(() => undefined);
    setNow(second);
  }

  useEffect(() => {
    if (at !== null && source && transcript) play(at);
  }, [at, source, transcript === null]); // eslint-disable-line

  if (trouble) return <Trouble text={trouble}><a href="#/">Back to the recordings</a></Trouble>;
  if (!transcript) return <Skeleton lines={5} />;
  return (
    <article>
      <p><a href="#/">← Recordings</a></p>
      <Title transcript={transcript} onChange={setTranscript} />
      <p className="quiet small">
        {day(transcript.created_at)}
        {transcript.duration_s != null && ` · ${clock(transcript.duration_s)}`}
        {transcript.language && ` · ${transcript.language}`}
        {transcript.speakers?.map((who) => <span key={who.label}> · {who.name ?? speakerName(who.label)} {clock(who.talk_s ?? 0)}</span>)}
      </p>
      {transcript.error && <Trouble text={transcript.error} />}
      <div className="deck">
        {source && (
          <audio
            ref={player} controls src={source} preload="auto" aria-label={`Recording ${transcript.title}`}
            onTimeUpdate={(event) => setNow(event.currentTarget.currentTime)}
          />
        )}
        {transcript.status === "completed" && <Exports id={id} onTrouble={setTrouble} />}
      </div>
      {transcript.warnings?.map((each) => <p key={each.code} className="notice small">{each.detail}</p>)}
      {transcript.status === "completed" && !transcript.segments?.length && <p className="empty">Nobody speaks in this recording.</p>}
      <Words segments={transcript.segments ?? []} names={names(transcript)} now={now} onPlay={play} />
    </article>
  );
}

function names(transcript: Transcript): Record<string, string> {
  return Object.fromEntries((transcript.speakers ?? []).map((who) => [who.label, who.name ?? speakerName(who.label)]));
}

function Title({ transcript, onChange }: { transcript: Transcript; onChange: (changed: Transcript) => void }) {
  const [editing, setEditing] = useState(false);
  async function save(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const title = String(new FormData(event.currentTarget).get("title")).trim();
    if (title) onChange(await api.rename(transcript.transcript_id, title));
    setEditing(false);
  }
  if (!editing)
    return (
      <div className="row">
        <h1 className="grow">{transcript.title}</h1>
        <button className="plain" onClick={() => setEditing(true)}>Rename</button>
      </div>
    );
  return (
    <form className="row" onSubmit={(event) => void save(event)}>
      <label className="grow"><span className="hidden">Title</span>
        <input name="title" defaultValue={transcript.title} maxLength={200} required autoFocus />
      </label>
      <button className="primary">Save</button>
      <button type="button" onClick={() => setEditing(false)}>Cancel</button>
    </form>
  );
}

function Exports({ id, onTrouble }: { id: string; onTrouble: (text: string) => void }) {
  return (
    <label className="small">
      <span className="hidden">Export as</span>
      <select
        value="" onChange={(event) => void download(id, event.target.value).catch((error: Error) => onTrouble(error.message))}
      >
        <option value="" disabled>Export…</option>
        {FORMATS.map((format) => <option key={format} value={format}>{format}</option>)}
      </select>
    </label>
  );
}

interface WordsProps {
  segments: Segment[];
  names: Record<string, string>;
  now: number;
  onPlay: (second: number) => void;
}

/** The transcript; the word being heard is marked and kept in view until the reader scrolls away. */
function Words({ segments, names, now, onPlay }: WordsProps) {
  const [follow, setFollow] = useState(true);
  const current = useRef<HTMLButtonElement>(null);
  const active = useMemo(() => activeWord(segments, now), [segments, now]);

  useEffect(() => {
    const stop = () => setFollow(false);
    addEventListener("wheel", stop, { passive: true });
    addEventListener("touchmove", stop, { passive: true });
    return () => {
      removeEventListener("wheel", stop);
      removeEventListener("touchmove", stop);
    };
  }, []);
  useEffect(() => {
    if (follow && active) current.current?.scrollIntoView({ block: "nearest" });
  }, [active, follow]);

  return (
    <div className="words">
      {segments.map((segment) => (
        <section key={segment.segment_id} className={`turn speaker-${speakerNumber(segment.speaker)}`}>
          <h2>
            <span className="speaker">{names[segment.speaker] ?? speakerName(segment.speaker)}</span>{" "}
            <button className="time" onClick={() => onPlay(segment.start_s)} aria-label={`Play from ${clock(segment.start_s)}`}>
              {clock(segment.start_s)}
            </button>{" "}
            <Emotion label={segment.emotion?.label} />
          </h2>
          <p>
            {segment.words?.length
              ? segment.words.map((word, at) => {
                  const key = `${segment.segment_id}:${at}`;
                  return (
                    <span key={key}>
                      <button
                        ref={key === active ? current : undefined}
                        className={`word${key === active ? " heard" : ""}${word.confidence < UNSURE ? " unsure" : ""}`}
                        title={word.confidence < UNSURE ? "I am not sure of this word" : undefined}
                        onClick={() => { setFollow(true); onPlay(word.start_s); }}
                      >
                        {word.word}
                      </button>{" "}
                    </span>
                  );
                })
              : segment.text}
          </p>
        </section>
      ))}
      {!follow && active && <button className="pill" onClick={() => setFollow(true)}>Jump to current word</button>}
    </div>
  );
}

function activeWord(segments: Segment[], now: number): string | null {
  let found: string | null = null;
  for (const segment of segments) {
    if (segment.start_s > now + 0.05) break;
    segment.words?.forEach((word, at) => {
      if (word.start_s <= now + 0.05) found = `${segment.segment_id}:${at}`;
    });
  }
  return now < 0 ? null : found;
}
