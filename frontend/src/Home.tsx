import { useCallback, useEffect, useRef, useState } from "react";
import { api, events, upload, type Job, type TranscriptSummary } from "./api/client";
import { clock, day, left, stage } from "./format";
import { Bar, Emotion, Skeleton, Trouble } from "./parts";

interface Sending {
  key: string;
  name: string;
  share: number;
  abort: AbortController;
}

const UNDO_MS = 6000;

export function Home() {
  const [list, setList] = useState<TranscriptSummary[] | null>(null);
  const [more, setMore] = useState<string | null>(null);
  const [sending, setSending] = useState<Sending[]>([]);
  const [trouble, setTrouble] = useState<string | null>(null);
  const [said, setSaid] = useState("");
  const [leaving, setLeaving] = useState<TranscriptSummary | null>(null);
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);

  const load = useCallback(async () => {
    try {
      const page = await api.recent();
      setList(page.data);
      setMore(page.has_more ? (page.next_cursor ?? null) : null);
    } catch (error) {
      setTrouble((error as Error).message);
    }
  }, []);
  useEffect(() => void load(), [load]);

  async function send(files: FileList | null) {
    for (const file of Array.from(files ?? [])) {
      const one: Sending = { key: crypto.randomUUID(), name: file.name, share: 0, abort: new AbortController() };
      setTrouble(null);
      setSending((all) => [...all, one]);
      const moved = (share: number) =>
        setSending((all) => all.map((each) => (each.key === one.key ? { ...each, share } : each)));
      try {
        await upload(file, moved, one.abort.signal);
        setSaid(`${file.name} is safe on the server and is being transcribed.`);
        await load();
      } catch (error) {
        setTrouble(`${file.name}: ${(error as Error).message}`);
      }
      setSending((all) => all.filter((each) => each.key !== one.key));
    }
  }

  /** Gone from the list at once, from the server when nobody wanted it back. */
  function remove(item: TranscriptSummary) {
    setList((all) => all?.filter((each) => each.transcript_id !== item.transcript_id) ?? null);
    setLeaving(item);
    timer.current = setTimeout(() => {
      setLeaving(null);
      api.remove(item.transcript_id).catch((error: Error) => setTrouble(error.message)).finally(() => void load());
    }, UNDO_MS);
  }

  function undo() {
    clearTimeout(timer.current);
    setLeaving(null);
    void load();
  }

  async function loadMore() {
    const page = await api.recent(more ?? undefined);
    setList((all) => [...(all ?? []), ...page.data]);
    setMore(page.has_more ? (page.next_cursor ?? null) : null);
  }

  return (
    <>
      <h1>Recordings</h1>
      <Drop onFiles={(files) => void send(files)} />
      <Trouble text={trouble} />
      <p className="hidden" role="status">{said}</p>
      {sending.map((each) => (
        <div className="card row" key={each.key}>
          <div className="grow">
            <strong>{each.name}</strong>
            <Bar percent={each.share * 100} label={`Uploading ${each.name}`} />
          </div>
          <button onClick={() => each.abort.abort()}>Cancel</button>
        </div>
      ))}
      {list === null && !trouble && <Skeleton lines={3} />}
      {list?.length === 0 && sending.length === 0 && (
        <div className="empty">
          <h2>Nothing here yet</h2>
          <p>Drop a recording above: a voice note, a meeting, a call. You will read who said what, and can ask about it.</p>
        </div>
      )}
      <ul className="list">
        {list?.map((item) => (
          <Item key={item.transcript_id} item={item} onChange={load} onRemove={() => remove(item)} />
        ))}
      </ul>
      {more && <button onClick={() => void loadMore()}>Show more</button>}
      {leaving && (
        <div className="toast" role="status">
          “{leaving.title}” will be deleted. <button onClick={undo}>Undo</button>
        </div>
      )}
    </>
  );
}

function Drop({ onFiles }: { onFiles: (files: FileList | null) => void }) {
  const [over, setOver] = useState(false);
  return (
    <label
      className={`drop ${over ? "over" : ""}`}
      onDragOver={(event) => { event.preventDefault(); setOver(true); }}
      onDragLeave={() => setOver(false)}
      onDrop={(event) => { event.preventDefault(); setOver(false); onFiles(event.dataTransfer.files); }}
    >
      <input
        type="file" accept="audio/*,video/*,.wav,.flac,.mp3,.ogg,.opus,.m4a,.webm" multiple
        onChange={(event) => { onFiles(event.target.files); event.target.value = ""; }}
      />
      <strong>Drop a recording here, or choose a file</strong>
      <span className="quiet">wav, flac, mp3, ogg, opus, m4a, webm. It stays on this machine.</span>
    </label>
  );
}

function Item({ item, onChange, onRemove }: { item: TranscriptSummary; onChange: () => Promise<void>; onRemove: () => void }) {
  const working = item.status === "queued" || item.status === "processing";
  return (
    <li className="card row">
      <div className="grow">
        <h2><a href={`#/recording/${item.transcript_id}`}>{item.title}</a></h2>
        <p className="quiet small">
          {day(item.created_at)}
          {item.duration_s != null && ` · ${clock(item.duration_s)}`} <Emotion label={item.emotion} />
        </p>
        {working && item.job_id && <Working jobId={item.job_id} title={item.title} onEnd={onChange} />}
        {(item.status === "failed" || item.status === "cancelled") && (
          <Ended item={item} onChange={onChange} />
        )}
        {item.preview && <p className="preview">{item.preview}</p>}
      </div>
      <button className="plain" aria-label={`Delete ${item.title}`} onClick={onRemove}>Delete</button>
    </li>
  );
}

function Working({ jobId, title, onEnd }: { jobId: string; title: string; onEnd: () => Promise<void> }) {
  const [job, setJob] = useState<Job | null>(null);
  useEffect(() => {
    const abort = new AbortController();
    follow(jobId, abort.signal, setJob).then(() => onEnd()).catch(() => undefined);
    return () => abort.abort();
  }, [jobId]); // eslint-disable-line
  const progress = job?.progress;
  return (
    <div className="working">
      <p className="small">{stage(progress?.stage ?? "queued")} {left(progress?.eta_s)}</p>
      <Bar percent={progress?.percent ?? 0} label={`Progress of ${title}`} />
      <button onClick={() => void api.cancelJob(jobId)}>Cancel</button>
    </div>
  );
}

/** The job's events until it ends; where they break off, it is asked for instead. */
async function follow(jobId: string, signal: AbortSignal, tell: (job: Job) => void): Promise<void> {
  for (;;) {
    try {
      for await (const { data } of events(`/jobs/${jobId}/events`, { signal })) tell(data as unknown as Job);
      return;
    } catch (error) {
      if (signal.aborted) throw error;
      await new Promise((resume) => setTimeout(resume, 2000));
      const job = await api.job(jobId);
      tell(job);
      if (!["queued", "running", "preempting"].includes(job.state)) return;
    }
  }
}

function Ended({ item, onChange }: { item: TranscriptSummary; onChange: () => Promise<void> }) {
  const text = item.status === "cancelled" ? "Cancelled." : (item.error ?? "This did not work.");
  return (
    <p className="trouble">
      {text}{" "}
      {item.job_id && (
        <button onClick={() => void api.retryJob(item.job_id as string).then(onChange)}>Try again</button>
      )}
    </p>
  );
}
