import { useEffect, useState, type FormEvent } from "react";
import { health, register, signIn } from "./api/client";
import { Trouble } from "./parts";

export function SignIn({ onSignedIn }: { onSignedIn: () => Promise<void> }) {
  const [first, setFirst] = useState(false);
  const [joining, setJoining] = useState(false);
  const [busy, setBusy] = useState(false);
  const [trouble, setTrouble] = useState<string | null>(null);

  useEffect(() => {
    void health().then((found) => {
      setFirst(found?.first_run ?? false);
      setJoining(found?.first_run ?? false);
      if (found === null) setTrouble("The server does not answer. Check that it runs, then reload.");
    });
  }, []);

  async function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const [username, password] = [String(form.get("username")).trim(), String(form.get("password"))];
    setBusy(true);
    setTrouble(null);
    try {
      if (joining) await register(username, password);
      await signIn(username, password);
      await onSignedIn();
    } catch (error) {
      setTrouble((error as Error).message);
      setBusy(false);
    }
  }

  return (
    <main className="centre">
      <form className="card door" onSubmit={submit}>
        <img src="/icon.svg" alt="" width="48" height="48" />
        <h1>{first ? "Welcome to Nemo" : joining ? "Make an account" : "Sign in to Nemo"}</h1>
        <p className="quiet">
          {first
            ? "A private memory for what you hear and say. Make the first account; it is the administrator’s."
            : "A private memory for what you hear and say."}
        </p>
        <label>
          User name
          <input name="username" required minLength={3} maxLength={64} autoComplete="username" autoCapitalize="none" autoFocus />
        </label>
        <label>
          Password
          <input
            name="password" type="password" required minLength={joining ? 12 : 1}
            autoComplete={joining ? "new-password" : "current-password"} aria-describedby="hint"
          />
        </label>
        <p id="hint" className="quiet small">{joining ? "At least 12 characters; a few words in a row are easy to remember." : " "}</p>
        <Trouble text={trouble} />
        <button className="primary" disabled={busy}>{busy ? "One moment…" : joining ? "Make the account" : "Sign in"}</button>
        {!first && (
          <button type="button" className="plain" onClick={() => setJoining(!joining)}>
            {joining ? "I have an account" : "Make an account"}
          </button>
        )}
      </form>
    </main>
  );
}
