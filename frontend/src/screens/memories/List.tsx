/** The memories that pass the filters; of thousands only those in sight are drawn. */
import { Button } from "@mantine/core";
import { IconBrain, IconFilterOff } from "@tabler/icons-react";
import { useWindowVirtualizer } from "@tanstack/react-virtual";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import { useMemories, useSearchWithin } from "../../api/queries/memories";
import { EmptyState } from "../../parts/EmptyState";
import { useHidden } from "../../parts/hidden";
import { Skeletons } from "../../parts/Skeletons";
import { Trouble } from "../../parts/Trouble";
import { Card } from "./Card";
import { FilterBar } from "./FilterBar";
import { narrowed, passes, requestOf, rowOfHit, rowOfMemory, type Filters, type Row } from "./filters";
import { useAddress, useGo } from "./address";

/** Rows that are wanted before the list stops looking further back. */
const ENOUGH = 30;

function useRows(filters: Filters) {
  const request = useMemo(() => requestOf(filters), [filters]);
  const found = useSearchWithin(request);
  const listed = useMemories(filters.type, filters.tag, request === null);
  const hidden = useHidden();
  const rows = useMemo(() => {
    const all = request ? found.data?.map(rowOfHit) : listed.data?.pages.flatMap((page) => page.data.map(rowOfMemory)).filter((row) => passes(row, filters));
    return all?.filter((row) => !hidden.has(row.id));
  }, [request, found.data, listed.data, filters, hidden]);
  const { hasNextPage, isFetchingNextPage, fetchNextPage } = listed;
  const few = !request && narrowed(filters) && (rows?.length ?? 0) < ENOUGH;
  useEffect(() => {
    if (few && hasNextPage && !isFetchingNextPage) void fetchNextPage();
  }, [few, hasNextPage, isFetchingNextPage, fetchNextPage]);
  const more = () => !request && hasNextPage && !isFetchingNextPage && void fetchNextPage();
  const query = request ? found : listed;
  return { rows, error: query.error, refetch: query.refetch, busy: query.isFetching && !query.isFetched, looking: few && hasNextPage, more, ranked: request !== null, whole: !hasNextPage };
}

export function List() {
  const { t } = useTranslation("memories");
  const { q, type, tag, speaker, from, to } = useAddress();
  const filters = useMemo(() => ({ q, type, tag, speaker, from, to }), [q, type, tag, speaker, from, to]);
  const { rows, error, refetch, busy, looking, more, ranked, whole } = useRows(filters);
  const told = rows && !busy ? t(ranked ? "found" : whole ? "count" : "count-more", { count: rows.length }) : "";
  return (
    <>
      <FilterBar filters={filters} />
      <Trouble why={error?.message}><Button size="compact-md" variant="default" onClick={() => void refetch()}>{t("again")}</Button></Trouble>
      <p className="quiet small" role="status">{looking ? t("looking") : told}</p>
      {busy && <Skeletons lines={4} />}
      {rows && rows.length > 0 && <Rows rows={rows} onEnd={more} />}
      {rows?.length === 0 && !busy && !looking && <Nothing filters={filters} />}
    </>
  );
}

function Nothing({ filters }: { filters: Filters }) {
  const { t } = useTranslation("memories");
  const go = useGo();
  const filtered = Object.values(filters).some(Boolean);
  const clear = () => go({ q: undefined, type: undefined, tag: undefined, speaker: undefined, from: undefined, to: undefined });
  if (filtered) {
    return <EmptyState icon={IconFilterOff} title={t("nothing.title")} text={t("nothing.text")}><Button variant="light" onClick={clear}>{t("filter.clear")}</Button></EmptyState>;
  }
  return (
    <EmptyState icon={IconBrain} title={t("empty.title")} text={t("empty.text")}>
      <Button variant="light" onClick={() => go({ type: "transcript" })}>{t("empty.act")}</Button>
    </EmptyState>
  );
}

function Rows({ rows, onEnd }: { rows: Row[]; onEnd: () => void }) {
  const { t } = useTranslation("memories");
  const list = useRef<HTMLUListElement>(null);
  const [top, setTop] = useState(0);
  useLayoutEffect(() => setTop((list.current?.getBoundingClientRect().top ?? 0) + scrollY), [rows.length]);
  const virtual = useWindowVirtualizer({ count: rows.length, estimateSize: () => 132, overscan: 8, scrollMargin: top, getItemKey: (at) => rows[at]?.id ?? at });
  const items = virtual.getVirtualItems();
  const last = items.at(-1)?.index ?? 0;
  useEffect(() => {
    if (last >= rows.length - 5) onEnd();
  }, [last, rows.length, onEnd]);
  return (
    <ul className="list mem-rows" ref={list} aria-label={t("title")} style={{ height: virtual.getTotalSize() }}>
      {items.map((item) => {
        const row = rows[item.index];
        return row && (
          <li
            key={item.key} data-index={item.index} ref={virtual.measureElement} aria-posinset={item.index + 1} aria-setsize={rows.length}
            style={{ transform: `translateY(${item.start - top}px)` }}
          >
            <Card row={row} />
          </li>
        );
      })}
    </ul>
  );
}
