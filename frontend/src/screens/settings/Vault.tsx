/** Open: the server reads it by itself. Sealed: only a password or the recovery code opens it. */
import { Button } from "@mantine/core";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { useLock, useNewCode, useSeal, useUnseal, useVault } from "../../api/queries/vault";
import { announce } from "../../app/announce";
import { useShortcut } from "../../app/shortcuts";
import { Skeletons } from "../../parts/Skeletons";
import { Trouble } from "../../parts/Trouble";
import { UnlockForm } from "../unlock";
import { Block } from "./Block";
import { PasswordForm } from "./PasswordForm";
import { RecoveryCode } from "./RecoveryCode";

export function Vault() {
  const { t } = useTranslation("settings");
  const { data: vault, error, refetch } = useVault();
  const [code, setCode] = useState<string | null>(null);
  if (code) return <Block title={t("vault.code")}><RecoveryCode code={code} onKept={() => setCode(null)} /></Block>;
  if (error && !vault) return <Trouble why={error.message}><Button variant="default" size="compact-md" onClick={() => void refetch()}>{t("again")}</Button></Trouble>;
  if (!vault) return <Skeletons lines={2} />;
  if (vault.mode === "open") return <Open onCode={setCode} />;
  return vault.locked ? <Block title={t("vault.locked")} text={t("vault.locked-text")}><UnlockForm /></Block> : <Sealed onCode={setCode} />;
}

function Open({ onCode }: { onCode: (code: string) => void }) {
  const { t } = useTranslation("settings");
  const seal = useSeal();
  return (
    <Block title={t("vault.open")} text={t("vault.open-text")}>
      <ul className="plain small">
        {(["server", "background", "forgotten"] as const).map((point) => <li key={point}>{t(`vault.${point}`)}</li>)}
      </ul>
      <PasswordForm act={t("vault.seal")} change={seal} onDone={(answer) => onCode(answer.recovery_code)} />
    </Block>
  );
}

function Sealed({ onCode }: { onCode: (code: string) => void }) {
  const { t } = useTranslation("settings");
  const [lock, unseal, newCode] = [useLock(), useUnseal(), useNewCode()];
  const run = () => void lock.mutateAsync().then(() => announce(t("vault.locked")), () => undefined);
  useShortcut("alt+l", t("vault.lock"), run);
  return (
    <>
      <Block title={t("vault.sealed")} text={t("vault.sealed-text")}>
        <Trouble why={lock.error?.message} />
        <Button onClick={run} loading={lock.isPending}>{t("vault.lock")}</Button>
      </Block>
      <Block title={t("vault.new-code")} text={t("vault.new-code-text")}>
        <PasswordForm act={t("vault.make-code")} change={newCode} onDone={(answer) => onCode(answer.recovery_code)} />
      </Block>
      <Block title={t("vault.unseal")} text={t("vault.unseal-text")}>
        <PasswordForm act={t("vault.unseal")} change={unseal} onDone={() => announce(t("vault.open"))} />
      </Block>
    </>
  );
}
