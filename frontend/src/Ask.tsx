import { useEffect, useRef, useState, type FormEvent } from "react";
import { api, audioUrl, events, type Citation } from "./api/client";
import { clock, speakerName } from "./format";
import { Trouble } from "./parts";

interface Turn {
  question: string;
  answer: string;
  citations: Citation[];
  notice: string | null;
  messageId: string | null;
  done: boolean;
}

export function Ask() {
  const [turns, setTurns] = useState<Turn[]>([]);
  const [conversation, setConversation] = useState<string | null>(null);
  const [trouble, setTrouble] = useState<string | null>(null);
  const busy = turns.length > 0 && !turns[turns.length - 1]?.done;

  const change = (update: (turn: Turn) => Turn) =>
    setTurns((all) => all.map((turn, at) => (at === all.length - 1 ? update(turn) : turn)));

  async function ask(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const form = event.currentTarget;
    const question = String(new FormData(form).get("question")).trim();
    if (!question || busy) return;
    form.reset();
    setTrouble(null);
    setTurns((all) => [...all, { question, answer: "", citations: [], notice: null, messageId: null, done: false }]);
    try {
      const body = { message: question, stream: true, ...(conversation ? { conversation_id: conversation } : {}) };
      const init = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
      for await (const { event: kind, data } of events("/gemma/chat", init)) hear(kind, data);
    } catch (error) {
      setTrouble((error as Error).message);
    }
    change((turn) => ({ ...turn, done: true }));
  }

  function hear(kind: string, data: Record<string, unknown>) {
    if (kind === "token") change((turn) => ({ ...turn, answer: turn.answer + String(data.text) }));
    else if (kind === "citation") change((turn) => ({ ...turn, citations: [...turn.citations, data as unknown as Citation] }));
    else if (kind === "error") setTrouble(String(data.detail));
    else if (kind === "status") {
      if (data.conversation_id) setConversation(String(data.conversation_id));
      if (data.message_id) change((turn) => ({ ...turn, messageId: String(data.message_id) }));
      if (data.notice) change((turn) => ({ ...turn, notice: String(data.notice) }));
    }
  }

  return (
    <>
      <h1>Ask</h1>
      {turns.length === 0 && (
        <div className="empty">
          <h2>Ask about anything that was said</h2>
          <p>“When does the plumber come?” The answer quotes your recordings; play the second that proves it.</p>
        </div>
      )}
      <div className="talk" aria-live="polite" aria-busy={busy}>
        {turns.map((turn, at) => <Exchange key={at} turn={turn} />)}
      </div>
      <Trouble text={trouble} />
      <form className="row ask" onSubmit={(event) => void ask(event)}>
        <label className="grow"><span className="hidden">Your question</span>
          <input name="question" placeholder="Your question" autoComplete="off" maxLength={4000} autoFocus />
        </label>
        {busy ? (
          <button type="button" onClick={() => void stop(turns[turns.length - 1])}>Stop</button>
        ) : (
          <button className="primary">Ask</button>
        )}
      </form>
    </>
  );
}

async function stop(turn: Turn | undefined): Promise<void> {
  if (turn?.messageId) await api.cancelMessage(turn.messageId).catch(() => undefined);
}

function Exchange({ turn }: { turn: Turn }) {
  return (
    <div className="exchange">
      <p className="question">{turn.question}</p>
      <div className="card">
        <p className="answer">{turn.answer || "…"}</p>
        {turn.notice && <p className="notice small">{turn.notice}</p>}
        {turn.citations.length > 0 && (
          <ul className="chips" aria-label="Evidence">
            {turn.citations.map((citation, at) => <Chip key={at} citation={citation} number={at + 1} />)}
          </ul>
        )}
      </div>
    </div>
  );
}

/** A citation: plays its seconds right here, and leads to its place in the transcript. */
function Chip({ citation, number }: { citation: Citation; number: number }) {
  const [source, setSource] = useState<string | null>(null);
  const player = useRef<HTMLAudioElement>(null);
  const { transcript_id: id, start_s: start, end_s: end } = citation;

  useEffect(() => () => void (source && URL.revokeObjectURL(source)), [source]);
  useEffect(() => {
    if (source && player.current) {
      player.current.currentTime = start ?? 0;
      void player.current.play().catch(() => undefined);
    }
  }, [source, start]);

  if (!id || start == null) return <li className="chip">[{number}] from your notes</li>;
  return (
    <li className="chip">
      <button
        onClick={() => {
          if (!source) void audioUrl(id).then(setSource);
          else if (player.current) {
            player.current.currentTime = start;
            void player.current.play();
          }
        }}
      >
        <span aria-hidden="true">▶</span> [{number}] {speakerName(citation.speaker ?? "")} at {clock(start)}
      </button>{" "}
      <a href={`#/recording/${id}?t=${start}`}>open</a>
      {source && (
        <audio
          ref={player} src={source} aria-label={`Evidence ${number}`}
          onTimeUpdate={(event) => end != null && event.currentTarget.currentTime > end + 0.3 && event.currentTarget.pause()}
        />
      )}
    </li>
  );
}
