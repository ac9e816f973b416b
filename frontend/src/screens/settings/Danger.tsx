import { Button, TextInput } from "@mantine/core";
import { useState, type FormEvent } from "react";
import { useTranslation } from "react-i18next";
import { signOut } from "../../api/client";
import { useDeleteAccount } from "../../api/queries/account";
import { useDeleteAll } from "../../api/queries/data";
import { announce } from "../../app/announce";
import { useUser } from "../../app/session";
import { Trouble } from "../../parts/Trouble";
import { Block } from "./Block";
import { PasswordForm } from "./PasswordForm";
import { typed } from "./same";

/** What no undo can bring back needs one's name, letter by letter. */
export function Danger() {
  const { t } = useTranslation("settings");
  const { username } = useUser();
  const [name, setName] = useState("");
  const remove = useDeleteAll();
  function submit(event: FormEvent) {
    event.preventDefault();
    if (!typed(name, username)) return;
    remove.mutate(undefined, {
      onSuccess: () => {
        setName("");
        announce(t("danger.done"));
      },
    });
  }
  return (
    <Block title={t("danger.title")} text={t("danger.text")} grave>
      <form className="form" onSubmit={submit}>
        <TextInput
          label={t("danger.type", { name: username })} value={name} onChange={(event) => setName(event.currentTarget.value)}
          autoComplete="off" autoCapitalize="none" spellCheck={false} dir="auto"
        />
        <Trouble why={remove.error?.message} />
        <Button type="submit" color="red" variant="outline" className="grave-button" loading={remove.isPending} disabled={!typed(name, username)}>{t("danger.act")}</Button>
        {remove.isSuccess && <p className="notice small">{t("danger.done")}</p>}
      </form>
    </Block>
  );
}

/** The account with all it owns; whoever it was is signed out everywhere. */
export function Leave() {
  const { t } = useTranslation("settings");
  const { role } = useUser();
  const leave = useDeleteAccount();
  return (
    <Block title={t("leave.title")} text={t("leave.text")} grave>
      {role === "admin" && <p className="quiet small">{t("leave.admin")}</p>}
      <PasswordForm grave act={t("leave.act")} change={leave} onDone={() => void signOut()} />
    </Block>
  );
}
