/** The vault is sealed and locked: the password opens it, or the recovery code. */
import { Button, PasswordInput, TextInput } from "@mantine/core";
import { IconLock } from "@tabler/icons-react";
import { useState, type FormEvent } from "react";
import { useTranslation } from "react-i18next";
import { useUnlock, useVault } from "../../api/queries/vault";
import { announce } from "../../app/announce";
import { PageHeader } from "../../parts/PageHeader";
import { Trouble } from "../../parts/Trouble";

export default function Unlock() {
  const { t } = useTranslation("unlock");
  const waiting = useVault().data?.waiting ?? 0;
  return (
    <div className="unlock">
      <IconLock size={40} stroke={1.3} aria-hidden="true" />
      <PageHeader title={t("title")} text={t("text")} />
      {waiting > 0 && <p className="notice small">{t("waiting", { count: waiting })}</p>}
      <UnlockForm />
    </div>
  );
}

/** Also in the settings, where the vault is looked after. */
export function UnlockForm() {
  const { t } = useTranslation("unlock");
  const [byCode, setByCode] = useState(false);
  const unlock = useUnlock();
  function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const said = (name: string) => String(form.get(name) ?? "").trim() || null;
    const keys = { password: String(form.get("password") ?? "") || null, recovery_code: said("code") };
    unlock.mutateAsync(keys).then(() => announce(t("opened")), () => undefined);
  }
  return (
    <form className="unlock-form" onSubmit={submit}>
      {byCode && <TextInput label={t("code")} name="code" size="md" required withAsterisk={false} autoComplete="off" autoCapitalize="none" spellCheck={false} dir="ltr" autoFocus />}
      <PasswordInput
        key={String(byCode)} label={t("password")} name="password" size="md" required={!byCode} withAsterisk={false} autoComplete="current-password" autoFocus={!byCode}
        {...(byCode ? { description: t("new-password") } : {})}
        visibilityToggleButtonProps={{ "aria-label": t("show"), tabIndex: 0, "aria-hidden": false }}
      />
      <Trouble why={unlock.error?.message} />
      <div className="facts">
        <Button type="submit" size="md" loading={unlock.isPending}>{t("open")}</Button>
        <Button variant="subtle" size="md" onClick={() => setByCode(!byCode)}>{t(byCode ? "by-password" : "by-code")}</Button>
      </div>
    </form>
  );
}
