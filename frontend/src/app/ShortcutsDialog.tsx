/** Every key that does something here. */
import { Kbd, Modal } from "@mantine/core";
import { useTranslation } from "react-i18next";
import { useShortcuts } from "./shortcuts";

export function keyNames(keys: string): string[] {
  const mac = /Mac|iPhone|iPad/.test(navigator.userAgent);
  return keys.split(/\+(?=.)/).map((key) => (key === "mod" ? (mac ? "⌘" : "Ctrl") : key.length === 1 ? key.toUpperCase() : key));
}

export default function ShortcutsDialog({ onClose }: { onClose: () => void }) {
  const { t } = useTranslation();
  const shortcuts = useShortcuts();
  return (
    <Modal opened onClose={onClose} title={t("shortcuts.title")} closeButtonProps={{ "aria-label": t("close") }}>
      <dl className="keys">
        {shortcuts.map((each) => (
          <div key={each.keys}>
            <dt>{each.label}</dt>
            <dd>{keyNames(each.keys).map((name) => <Kbd key={name}>{name}</Kbd>)}</dd>
          </div>
        ))}
      </dl>
    </Modal>
  );
}
