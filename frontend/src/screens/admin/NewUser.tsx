import { Button, PasswordInput, TextInput } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import type { FormEvent } from "react";
import { useTranslation } from "react-i18next";
import { register } from "../../api/client";
import { USERS, useServerCard } from "../../api/queries/admin";
import { announce } from "../../app/announce";
import { Trouble } from "../../parts/Trouble";

/** An account is made as its owner would: whoever gets it changes the password in the settings. */
export function NewUser({ onMade }: { onMade: () => void }) {
  const { t } = useTranslation("admin");
  const card = useServerCard().data;
  const cache = useQueryClient();
  const make = useMutation({ mutationFn: (given: { username: string; password: string }) => register(given.username, given.password) });
  function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const said = new FormData(event.currentTarget);
    const given = { username: String(said.get("username")).trim(), password: String(said.get("password")) };
    make.mutateAsync(given).then(() => {
      announce(t("new.done", { name: given.username }));
      void cache.invalidateQueries({ queryKey: USERS });
      onMade();
    }, () => undefined);
  }
  if (card && !card.registration_open) return <p className="notice">{t("new.closed")}</p>;
  return (
    <form className="card new-user" onSubmit={submit}>
      <p className="quiet small">{t("new.text", { address: location.origin })}</p>
      <TextInput label={t("new.username")} name="username" required withAsterisk={false} minLength={3} maxLength={64} autoComplete="off" autoCapitalize="none" dir="auto" autoFocus />
      <PasswordInput
        label={t("new.password")} name="password" required withAsterisk={false} minLength={12} autoComplete="new-password" description={t("new.hint")}
        visibilityToggleButtonProps={{ "aria-label": t("new.show"), tabIndex: 0, "aria-hidden": false }}
      />
      <Trouble why={make.error?.message} />
      <Button type="submit" loading={make.isPending}>{t("new.act")}</Button>
    </form>
  );
}
