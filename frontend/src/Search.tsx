import { useState, type FormEvent } from "react";
import { api, type SearchHit } from "./api/client";
import { clock, speakerName } from "./format";
import { Skeleton, Trouble } from "./parts";

export function Search() {
  const [hits, setHits] = useState<SearchHit[] | null>(null);
  const [busy, setBusy] = useState(false);
  const [trouble, setTrouble] = useState<string | null>(null);

  async function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const query = String(new FormData(event.currentTarget).get("query")).trim();
    if (!query) return;
    setBusy(true);
    setTrouble(null);
    try {
      setHits(await api.search(query));
    } catch (error) {
      setTrouble((error as Error).message);
    }
    setBusy(false);
  }

  return (
    <>
      <h1>Search</h1>
      <form className="row" role="search" onSubmit={(event) => void submit(event)}>
        <label className="grow"><span className="hidden">What are you looking for?</span>
          <input name="query" type="search" placeholder="What are you looking for? Your own words will do." autoFocus maxLength={4000} />
        </label>
        <button className="primary" disabled={busy}>Search</button>
      </form>
      <Trouble text={trouble} />
      {busy && <Skeleton lines={3} />}
      <p className="quiet small" role="status">{hits && !busy ? `${hits.length} found, best first` : ""}</p>
      <ul className="list">
        {hits?.map((hit) => <Hit key={hit.metadata.memory_id} hit={hit} />)}
      </ul>
      {hits?.length === 0 && <p className="empty">Nothing yet. Upload a recording first, or ask in other words.</p>}
    </>
  );
}

function Hit({ hit }: { hit: SearchHit }) {
  const { transcript_id, start_s, title, speaker } = hit.metadata;
  return (
    <li className="card">
      <p className="preview">{hit.content}</p>
      <p className="quiet small">
        {[speaker && speakerName(speaker), title].filter(Boolean).join(" · ")}{" "}
        {transcript_id && start_s != null && (
          <a href={`#/recording/${transcript_id}?t=${start_s}`}>Play from {clock(start_s)}</a>
        )}
      </p>
    </li>
  );
}
