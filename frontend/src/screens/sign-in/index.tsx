/** The door: the first account, another one, or coming in. */
import { Button, PasswordInput, TextInput } from "@mantine/core";
import { useEffect, useState, type FormEvent } from "react";
import { useTranslation } from "react-i18next";
import { register, signIn } from "../../api/client";
import { lookAtHealth } from "../../api/queries/health";
import { router } from "../../app/router";
import { Trouble } from "../../parts/Trouble";
import "./sign-in.css";

export default function SignIn({ onSignedIn }: { onSignedIn: () => Promise<void> }) {
  const { t } = useTranslation("sign-in");
  const [first, setFirst] = useState<boolean>();
  const [joining, setJoining] = useState(false);
  const [busy, setBusy] = useState(false);
  const [trouble, setTrouble] = useState<string | null>(null);

  useEffect(() => {
    void lookAtHealth().then((found) => {
      setFirst(found?.first_run ?? false);
      setJoining(found?.first_run ?? false);
      if (found === null) setTrouble(t("no-answer"));
    });
  }, [t]);

  async function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const [username, password] = [String(form.get("username")).trim(), String(form.get("password"))];
    setBusy(true);
    setTrouble(null);
    try {
      if (joining) await register(username, password);
      await signIn(username, password);
      if (first) router.history.replace("/app/welcome");
      await onSignedIn();
    } catch (error) {
      setTrouble((error as Error).message);
      setBusy(false);
    }
  }

  if (first === undefined) return <main className="door-page" aria-busy="true" />; // which door it is comes first: nothing jumps
  const mode = first ? "first" : joining ? "join" : "enter";
  return (
    <main className="door-page">
      <form className="door" onSubmit={(event) => void submit(event)}>
        <img src="/icon.svg" alt="" width="52" height="52" />
        <h1>{t(`${mode}.title`)}</h1>
        <p className="quiet">{t(`${mode}.text`)}</p>
        <TextInput
          label={t("username")} name="username" size="md" required withAsterisk={false} minLength={3} maxLength={64}
          autoComplete="username" autoCapitalize="none" data-autofocus autoFocus
        />
        <PasswordInput
          label={t("password")} name="password" size="md" required withAsterisk={false} minLength={joining ? 12 : 1}
          autoComplete={joining ? "new-password" : "current-password"} description={joining ? t("hint") : undefined}
          visibilityToggleButtonProps={{ "aria-label": t("show"), tabIndex: 0, "aria-hidden": false }}
        />
        <Trouble why={trouble} />
        <Button type="submit" size="md" loading={busy}>{t(`${mode}.act`)}</Button>
        {!first && (
          <Button variant="subtle" onClick={() => setJoining(!joining)}>{t(joining ? "have" : "none")}</Button>
        )}
      </form>
    </main>
  );
}
