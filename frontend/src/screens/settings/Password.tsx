import { Button, PasswordInput } from "@mantine/core";
import { useRef, type FormEvent } from "react";
import { useTranslation } from "react-i18next";
import { useChangePassword } from "../../api/queries/account";
import { announce } from "../../app/announce";
import { useUser } from "../../app/session";
import { Trouble } from "../../parts/Trouble";
import { Block } from "./Block";

/** Of the account, and of a sealed vault with it. */
export function Password() {
  const { t } = useTranslation("settings");
  const user = useUser();
  const change = useChangePassword();
  const form = useRef<HTMLFormElement>(null);
  function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const said = new FormData(event.currentTarget);
    const body = { current_password: String(said.get("current")), new_password: String(said.get("new")) };
    change.mutate(body, {
      onSuccess: () => {
        form.current?.reset();
        announce(t("password.done"));
      },
    });
  }
  const eye = { "aria-label": t("password.show"), tabIndex: 0, "aria-hidden": false } as const;
  return (
    <Block title={t("password.title")} text={<>{t("password.who")} <strong><bdi>{user.username}</bdi></strong> · {t(`role.${user.role}`)}</>}>
      <form ref={form} className="form" onSubmit={submit}>
        <input hidden readOnly name="username" autoComplete="username" value={user.username} />
        <PasswordInput label={t("password.current")} name="current" required withAsterisk={false} autoComplete="current-password" visibilityToggleButtonProps={eye} />
        <PasswordInput label={t("password.new")} name="new" required withAsterisk={false} minLength={12} autoComplete="new-password" description={t("password.hint")} visibilityToggleButtonProps={eye} />
        <Trouble why={change.error?.message} />
        <Button type="submit" loading={change.isPending}>{t("password.act")}</Button>
        {change.isSuccess && <p className="notice small">{t("password.done")}</p>}
      </form>
    </Block>
  );
}
