/** Done at once, taken back by a click: nobody is asked whether they are sure. */
import { Button } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import i18next from "i18next";

const OPEN_MS = 8000;

interface Toast {
  /** What was done: "Memory forgotten". */
  message: string;
}

function show(message: string, undo: () => void, closed: () => void): void {
  const id = crypto.randomUUID();
  const click = () => {
    undo();
    notifications.hide(id);
  };
  notifications.show({
    id, autoClose: OPEN_MS, onClose: closed, closeButtonProps: { "aria-label": i18next.t("shell:close") },
    message: (
      <span className="undo">
        <span dir="auto">{message}</span>
        <Button size="compact-sm" variant="light" onClick={click}>{i18next.t("parts:undo")}</Button>
      </span>
    ),
  });
}

export function fail(error: unknown): void {
  notifications.show({
    message: <span dir="auto">{(error as Error).message}</span>, color: "red", autoClose: OPEN_MS,
    closeButtonProps: { "aria-label": i18next.t("shell:close") },
  });
}

/** The server can take it back: `action` runs now, `undo` on the click. */
export async function undoable({ message, action, undo }: Toast & { action: () => Promise<unknown>; undo: () => Promise<unknown> }): Promise<void> {
  try {
    await action();
    show(message, () => void undo().catch(fail), () => undefined);
  } catch (error) {
    fail(error);
  }
}

/**
 * The server cannot: `hide` it now, `commit` when the toast has gone, `restore` on the click or where commit fails.
 * A tab closed meanwhile has changed nothing.
 */
export function undoableLater({ message, hide, commit, restore }: Toast & { hide: () => void; commit: () => Promise<unknown>; restore: () => void }): void {
  let undone = false;
  hide();
  show(
    message,
    () => {
      undone = true;
      restore();
    },
    () => {
      if (undone) return;
      commit().catch((error) => {
        restore();
        fail(error);
      });
    },
  );
}
