/** What is done with the recording as a whole: export, delete. */
import { ActionIcon } from "@mantine/core";
import { IconTrash } from "@tabler/icons-react";
import { useQueryClient, type InfiniteData } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import type { Transcript, TranscriptSummary } from "../../api/client";
import { RECORDINGS, removeRecording } from "../../api/queries/recordings";
import { download } from "../../api/upload";
import { usePlayer } from "../../parts/MomentPlayer";
import { fail, undoableLater } from "../../parts/UndoToast";

const FORMATS = ["txt", "md", "srt", "vtt", "csv", "json", "rttm"];

export function Exports({ id }: { id: string }) {
  const { t } = useTranslation("recording");
  return (
    <select className="select" aria-label={t("export")} value="" onChange={(event) => void download(id, event.target.value).catch(fail)}>
      <option value="" disabled>{t("export")}</option>
      {FORMATS.map((format) => <option key={format} value={format}>{t(`formats.${format}`)}</option>)}
    </select>
  );
}

type Pages = InfiniteData<{ data: TranscriptSummary[] }>;

/** Away to the list, where it is gone; from the server when nobody wanted it back. */
export function Delete({ transcript }: { transcript: Transcript }) {
  const { t } = useTranslation("recording");
  const navigate = useNavigate();
  const cache = useQueryClient();
  const { close, loaded } = usePlayer();
  const { transcript_id: id, title } = transcript;
  const reload = () => void cache.invalidateQueries({ queryKey: RECORDINGS });
  const hide = () => {
    cache.setQueryData<Pages>(RECORDINGS, (pages) =>
      pages && { ...pages, pages: pages.pages.map((page) => ({ ...page, data: page.data.filter((each) => each.transcript_id !== id) })) });
    if (loaded?.transcriptId === id) close();
    void navigate({ to: "/" });
  };
  const remove = () => undoableLater({
    message: t("deleted", { title }), hide,
    commit: () => removeRecording(id).then(reload),
    restore: () => {
      reload();
      void navigate({ to: "/recording/$id", params: { id } } as never);
    },
  });
  return <ActionIcon variant="subtle" color="gray" size={36} aria-label={t("delete")} onClick={remove}><IconTrash size={20} stroke={1.6} /></ActionIcon>;
}
