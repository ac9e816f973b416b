import { Menu } from "@mantine/core";
import { IconLock } from "@tabler/icons-react";
import { useTranslation } from "react-i18next";
import { useLock, useVault } from "../api/queries/vault";
import { fail } from "../parts/UndoToast";
import { announce } from "./announce";

/** In the user's menu where there is something to lock. */
export function LockItem() {
  const { t } = useTranslation();
  const { data: vault } = useVault();
  const lock = useLock();
  if (vault?.mode !== "sealed" || vault.locked) return null;
  const run = () => void lock.mutateAsync().then(() => announce(t("vault.locked")), fail);
  return <Menu.Item leftSection={<IconLock size={18} />} onClick={run}>{t("vault.lock")}</Menu.Item>;
}
