import { Button, PasswordInput } from "@mantine/core";
import type { UseMutationResult } from "@tanstack/react-query";
import type { FormEvent } from "react";
import { useTranslation } from "react-i18next";
import { Trouble } from "../../parts/Trouble";

interface Props<Answer> {
  act: string;
  change: UseMutationResult<Answer, Error, string>;
  onDone: (answer: Answer) => void;
  /** It cannot be taken back. */
  grave?: boolean;
}

/** What needs the password once more. */
export function PasswordForm<Answer>({ act, change, onDone, grave }: Props<Answer>) {
  const { t } = useTranslation("settings");
  function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    // The promise and not a callback: the answer counts also where it changes what stands here.
    change.mutateAsync(String(new FormData(event.currentTarget).get("password"))).then(onDone, () => undefined);
  }
  return (
    <form className="form" onSubmit={submit}>
      <PasswordInput
        label={t("password.current")} name="password" required withAsterisk={false} autoComplete="current-password"
        visibilityToggleButtonProps={{ "aria-label": t("password.show"), tabIndex: 0, "aria-hidden": false }}
      />
      <Trouble why={change.error?.message} />
      <Button type="submit" loading={change.isPending} {...(grave && { color: "red", variant: "outline", className: "grave-button" })}>{act}</Button>
    </form>
  );
}
