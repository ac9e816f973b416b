import { Button } from "@mantine/core";
import { useTranslation } from "react-i18next";
import { Trouble } from "../Trouble";
import type { NoMicrophone as Kind } from "./microphone";

/** Why there is no microphone, and what to do about it. */
export function NoMicrophone({ kind, onAgain }: { kind: Kind | null; onAgain: () => void }) {
  const { t } = useTranslation("microphone");
  return (
    <Trouble what={kind ? t(`${kind}.what`) : undefined} why={kind && t(`${kind}.why`)}>
      {kind !== "insecure" && <Button size="compact-md" variant="default" onClick={onAgain}>{t("again")}</Button>}
    </Trouble>
  );
}
