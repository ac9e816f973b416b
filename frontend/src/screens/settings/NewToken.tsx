import { Button, Checkbox, TextInput } from "@mantine/core";
import { useState, type FormEvent } from "react";
import { useTranslation } from "react-i18next";
import type { AccessTokenCreated } from "../../api/client";
import { useMakeToken } from "../../api/queries/account";
import { useUser } from "../../app/session";
import { Trouble } from "../../parts/Trouble";

const SCOPES = ["recordings", "memory", "chat", "emotion", "speech", "jobs", "account"] as const;
const LIVES = ["7", "30", "90", "365", ""] as const;

export function NewToken({ onMade }: { onMade: (token: AccessTokenCreated) => void }) {
  const { t } = useTranslation("settings");
  const { role } = useUser();
  const make = useMakeToken();
  const [scopes, setScopes] = useState<string[]>(["recordings"]);
  const all = role === "admin" ? [...SCOPES, "admin"] : SCOPES;
  function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const said = new FormData(event.currentTarget);
    const days = String(said.get("days"));
    make.mutate({ name: String(said.get("name")).trim(), scopes, expires_in_days: days ? Number(days) : null }, { onSuccess: onMade });
  }
  return (
    <form className="form" onSubmit={submit}>
      <TextInput id="token-name" label={t("tokens.name")} name="name" required withAsterisk={false} maxLength={100} placeholder={t("tokens.example")} dir="auto" />
      <Checkbox.Group value={scopes} onChange={setScopes} label={t("tokens.may")}>
        <div className="scopes">
          {all.map((scope) => <Checkbox key={scope} value={scope} label={t(`scope.${scope}`)} />)}
        </div>
      </Checkbox.Group>
      <label className="field">
        <span>{t("tokens.life")}</span>
        <select className="select" name="days" defaultValue="90">
          {LIVES.map((days) => <option key={days} value={days}>{days ? t("days", { count: Number(days) }) : t("tokens.forever")}</option>)}
        </select>
      </label>
      <Trouble why={make.error?.message} />
      <Button type="submit" loading={make.isPending} disabled={scopes.length === 0}>{t("tokens.make")}</Button>
    </form>
  );
}
