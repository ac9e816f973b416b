import { Button } from "@mantine/core";
import { IconCheck, IconCopy } from "@tabler/icons-react";
import { useId, useState } from "react";
import { useTranslation } from "react-i18next";
import { announce } from "../../app/announce";

interface Props {
  label: string;
  /** Why it must be kept now. */
  text: string;
  value: string;
  done: string;
  onDone: () => void;
}

/** Something that is shown this once. */
export function Secret({ label, text, value, done, onDone }: Props) {
  const { t } = useTranslation("settings");
  return (
    <div className="secret">
      <p className="notice">{text}</p>
      <SecretValue label={label} value={value} />
      <Button onClick={onDone}>{done}</Button>
      <span className="hidden">{t("secret.hint")}</span>
    </div>
  );
}

/** To read, to select, to copy. */
export function SecretValue({ label, value }: { label: string; value: string }) {
  const { t } = useTranslation("settings");
  const id = useId();
  const [copied, setCopied] = useState(false);
  async function copy() {
    await navigator.clipboard.writeText(value);
    setCopied(true);
    announce(t("secret.copied"));
  }
  const Icon = copied ? IconCheck : IconCopy;
  return (
    <div className="secret-row">
      <label htmlFor={id}>{label}</label>
      <input id={id} className="secret-value" readOnly value={value} dir="ltr" autoFocus onFocus={(event) => event.target.select()} />
      <Button variant="default" leftSection={<Icon size={16} />} onClick={() => void copy().catch(() => document.getElementById(id)?.focus())}>
        {t(copied ? "secret.copied" : "secret.copy")}
      </Button>
    </div>
  );
}
