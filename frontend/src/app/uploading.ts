/** Files on their way go on whatever screen is shown, and after a closed tab. */
import i18next from "i18next";
import { announce } from "./announce";

/** While this user is signed in; what comes back ends it. */
export function keepUploading(user: string): () => void {
  let over = false;
  const queue = Promise.all([import("../api/uploads/queue"), i18next.loadNamespaces("uploads")]).then(([{ queue }]) => queue);
  void queue.then((found) => {
    if (!over) void found.open(user, (name) => announce(i18next.t("uploads:safe", { name })));
  });
  return () => {
    over = true;
    void queue.then((found) => found.close());
  };
}
