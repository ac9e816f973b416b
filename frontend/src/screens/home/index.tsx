/** The timeline of recordings, and what brings a new one in. */
import { Button } from "@mantine/core";
import { IconMicrophone } from "@tabler/icons-react";
import { useQueryClient, type InfiniteData } from "@tanstack/react-query";
import { Link, useRouter } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import type { TranscriptSummary } from "../../api/client";
import { RECORDINGS, removeRecording, useRecordings } from "../../api/queries/recordings";
import { queue, useSendings } from "../../api/uploads/queue";
import { useShortcut } from "../../app/shortcuts";
import { EmptyState } from "../../parts/EmptyState";
import { PageHeader } from "../../parts/PageHeader";
import { Skeletons } from "../../parts/Skeletons";
import { Trouble } from "../../parts/Trouble";
import { undoableLater } from "../../parts/UndoToast";
import { Capture } from "./Capture";
import { byDay, nameOf } from "./days";
import { Item } from "./Item";
import { Sendings } from "./Sendings";
import "./home.css";

export default function Home() {
  const { t } = useTranslation("home");
  const router = useRouter();
  const { data, error, refetch, hasNextPage, fetchNextPage, isFetchingNextPage } = useRecordings();
  const list = data?.pages.flatMap((page) => page.data);
  const nothing = useSendings().length === 0 && list?.length === 0;
  useShortcut("r", t("record"), () => void router.navigate({ to: "/live", search: { start: "1" } as never }));

  return (
    <>
      <PageHeader title={t("title")} />
      <Capture onFiles={(files) => void queue.add(files)} />
      <Trouble why={error?.message}>
        <Button size="compact-md" variant="default" onClick={() => void refetch()}>{t("again")}</Button>
      </Trouble>
      <Sendings />
      {!list && !error && <Skeletons lines={3} />}
      {nothing && <Nothing />}
      {list && <Timeline list={list} onChange={() => void refetch()} />}
      {hasNextPage && <Button variant="default" loading={isFetchingNextPage} onClick={() => void fetchNextPage()}>{t("more")}</Button>}
    </>
  );
}

function Nothing() {
  const { t } = useTranslation("home");
  return (
    <EmptyState icon={IconMicrophone} title={t("empty.title")} text={t("empty.text")}>
      <Button onClick={() => document.getElementById("capture-file")?.click()}>{t("empty.act")}</Button>
      <Link to="/welcome">{t("empty.tour")}</Link>
    </EmptyState>
  );
}

function Timeline({ list, onChange }: { list: TranscriptSummary[]; onChange: () => void }) {
  const remove = useRemove();
  return byDay(list).map(({ date, items }) => (
    <section key={date} className="day" aria-labelledby={`day-${date}`}>
      <h2 id={`day-${date}`} className="day-name">{nameOf(date)}</h2>
      <ul className="list">
        {items.map((item) => <Item key={item.transcript_id} item={item} onChange={onChange} onRemove={() => remove(item)} />)}
      </ul>
    </section>
  ));
}

type Pages = InfiniteData<{ data: TranscriptSummary[] }>;

/** Gone from the list at once, from the server when nobody wanted it back. */
function useRemove() {
  const { t } = useTranslation("home");
  const cache = useQueryClient();
  const without = (id: string) => (pages?: Pages) =>
    pages && { ...pages, pages: pages.pages.map((page) => ({ ...page, data: page.data.filter((each) => each.transcript_id !== id) })) };
  const reload = () => void cache.invalidateQueries({ queryKey: RECORDINGS });
  return (item: TranscriptSummary) =>
    undoableLater({
      message: t("deleted", { title: item.title }),
      hide: () => cache.setQueryData<Pages>(RECORDINGS, without(item.transcript_id)),
      commit: () => removeRecording(item.transcript_id).then(reload),
      restore: reload,
    });
}
