/** Two who are one: recording by recording, each step with its way back. */
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import type { EnrolledSpeaker, TranscriptSummary } from "../../api/client";
import { RECORDINGS } from "../../api/queries/recordings";
import { forgetSpeaker, handOver, SPEAKERS, undoNaming } from "../../api/queries/speakers";
import { fail, undoableLater } from "../../parts/UndoToast";

/** Each step in its order; where one fails, those before it are taken back, the last first. Gives the way back of all. */
export async function allOrNothing<Item>(items: readonly Item[], step: (item: Item) => Promise<string | null>, undo: (id: string) => Promise<unknown>): Promise<() => Promise<void>> {
  const done: string[] = [];
  const back = async () => {
    for (const id of done.splice(0).reverse()) await undo(id);
  };
  try {
    for (const item of items) {
      const id = await step(item);
      if (id) done.push(id);
    }
  } catch (error) {
    await back();
    throw error;
  }
  return back;
}

export function useMerge(who: EnrolledSpeaker, onClose: () => void) {
  const { t } = useTranslation("speakers");
  const cache = useQueryClient();
  const [busy, setBusy] = useState(false);
  const [done, setDone] = useState(0);
  const reload = () => void Promise.all([SPEAKERS, RECORDINGS].map((queryKey) => cache.invalidateQueries({ queryKey })));

  async function merge(into: EnrolledSpeaker, heard: readonly TranscriptSummary[]) {
    setBusy(true);
    try {
      const step = (each: TranscriptSummary) =>
        handOver(each, who.speaker_id, { speaker_id: into.speaker_id }, true).finally(() => setDone((count) => count + 1));
      const back = await allOrNothing(heard, step, undoNaming);
      onClose();
      // Where each is heard is another now; the list itself waits until nobody wants it back.
      void cache.invalidateQueries({ predicate: ({ queryKey }) => queryKey[0] === SPEAKERS[0] && queryKey.length > 1 });
      undoableLater({
        message: t("merged", { name: who.name, into: into.name }),
        hide: () => cache.setQueryData<EnrolledSpeaker[]>(SPEAKERS, (all) => all?.filter((each) => each.speaker_id !== who.speaker_id)),
        commit: () => forgetSpeaker(who.speaker_id).then(reload),
        restore: () => void back().catch(fail).finally(reload),
      });
    } catch (error) {
      fail(error);
      setBusy(false);
      reload();
    }
  }
  return { busy, done, merge };
}
