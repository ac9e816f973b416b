import { useCallback, useEffect, useState } from "react";
import { api, health, refresh, signOut, whenSignedOut, type User } from "./api/client";
import { Ask } from "./Ask";
import { Home } from "./Home";
import { Recording } from "./Recording";
import { Search } from "./Search";
import { SignIn } from "./SignIn";

/** `#/recording/rec_...?t=12.3` -> ["recording", "rec_..."], 12.3 */
function usePlace(): { parts: string[]; at: number | null } {
  const read = () => location.hash.replace(/^#\/?/, "");
  const [hash, setHash] = useState(read);
  useEffect(() => {
    const changed = () => setHash(read());
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);
  const [path = "", query = ""] = hash.split("?");
  const at = new URLSearchParams(query).get("t");
  return { parts: path.split("/").filter(Boolean), at: at === null ? null : Number(at) };
}

export function App() {
  const [user, setUser] = useState<User | null | undefined>(undefined);
  const place = usePlace();
  const load = useCallback(async () => setUser(await api.me()), []);

  useEffect(() => {
    whenSignedOut(() => setUser(null));
    refresh()
      .then((signedIn) => (signedIn ? load() : setUser(null)))
      .catch(() => setUser(null));
  }, [load]);

  if (user === undefined) return <main className="centre" aria-busy="true"><p className="quiet">One moment…</p></main>;
  if (user === null) return <SignIn onSignedIn={load} />;
  return (
    <>
      <a className="skip" href="#content">Skip to content</a>
      <Header user={user} here={place.parts[0] ?? ""} />
      <main id="content" tabIndex={-1}>
        <Page parts={place.parts} at={place.at} />
      </main>
    </>
  );
}

function Page({ parts, at }: { parts: string[]; at: number | null }) {
  const [page, id] = parts;
  if (page === "recording" && id) return <Recording key={id} id={id} at={at} />;
  if (page === "search") return <Search />;
  if (page === "ask") return <Ask />;
  return <Home />;
}

const PLACES = [
  ["", "Recordings"],
  ["search", "Search"],
  ["ask", "Ask"],
] as const;

function Header({ user, here }: { user: User; here: string }) {
  return (
    <header className="bar">
      <a className="brand" href="#/"><img src="/icon.svg" alt="" width="28" height="28" /> Nemo</a>
      <nav aria-label="Main">
        {PLACES.map(([path, name]) => (
          <a key={path} href={`#/${path}`} aria-current={here === path || (path === "" && here === "recording") ? "page" : undefined}>
            {name}
          </a>
        ))}
      </nav>
      <div className="who">
        <Pulse />
        <span className="name">{user.username}</span>
        <button className="plain" onClick={() => void signOut()}>Sign out</button>
      </div>
    </header>
  );
}

/** How the services are, in one word that opens to one line each. */
function Pulse() {
  const [found, setFound] = useState<Awaited<ReturnType<typeof health>>>();
  useEffect(() => {
    const look = () => void health().then(setFound);
    look();
    const timer = setInterval(look, 15_000);
    return () => clearInterval(timer);
  }, []);
  if (found === undefined) return null;
  const word = found === null ? "offline" : found.status === "ok" ? "all well" : "partly down";
  return (
    <details className="pulse">
      <summary><span className={`dot ${found?.status === "ok" ? "good" : "bad"}`} aria-hidden="true" /> {word}</summary>
      <ul>
        {Object.entries(found?.services ?? {}).map(([name, state]) => <li key={name}>{name}: {state}</li>)}
      </ul>
    </details>
  );
}
