/** Text into the clipboard. Without TLS a browser gives no clipboard: then it is shown, to be copied by hand. */
import { notifications } from "@mantine/notifications";
import i18next from "i18next";

const OPEN_MS = 20_000;

export async function copy(text: string): Promise<void> {
  const close = { "aria-label": i18next.t("shell:close") };
  try {
    await navigator.clipboard.writeText(text);
    notifications.show({ message: i18next.t("recording:select.copied"), closeButtonProps: close });
  } catch {
    notifications.show({ title: i18next.t("recording:select.byHand"), message: <bdi className="by-hand">{text}</bdi>, autoClose: OPEN_MS, closeButtonProps: close });
  }
}
