import { Button, TextInput } from "@mantine/core";
import { useState, type FormEvent } from "react";
import { useTranslation } from "react-i18next";
import { announce } from "../../app/announce";
import { Trouble } from "../../parts/Trouble";
import { same } from "./same";
import { SecretValue } from "./Secret";

/** Shown this once; who types it again from where it was kept has kept it. */
export function RecoveryCode({ code, onKept }: { code: string; onKept: () => void }) {
  const { t } = useTranslation("settings");
  const [asking, setAsking] = useState(false);
  const [trouble, setTrouble] = useState<string | null>(null);
  function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    if (!same(String(new FormData(event.currentTarget).get("code")), code)) return setTrouble(t("vault.differs"));
    announce(t("vault.kept"));
    onKept();
  }
  if (!asking) {
    return (
      <div className="secret">
        <p className="notice">{t("vault.once")}</p>
        <SecretValue label={t("vault.code")} value={code} />
        <Button onClick={() => setAsking(true)}>{t("vault.noted")}</Button>
      </div>
    );
  }
  return (
    <form className="form" onSubmit={submit}>
      <TextInput label={t("vault.type")} name="code" required withAsterisk={false} autoComplete="off" autoCapitalize="none" spellCheck={false} dir="ltr" autoFocus />
      <Trouble why={trouble} />
      <div className="facts">
        <Button type="submit">{t("vault.check")}</Button>
        <Button variant="default" onClick={() => setAsking(false)}>{t("vault.look-again")}</Button>
      </div>
    </form>
  );
}
