/** Search in everything that is remembered; question and filters stand in the address, so that back and reload keep them. */
import { Button, TextInput } from "@mantine/core";
import { IconSearch } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import type { FormEvent } from "react";
import { useTranslation } from "react-i18next";
import { client, data, type SearchHit } from "../../api/client";
import { EmptyState } from "../../parts/EmptyState";
import { PageHeader } from "../../parts/PageHeader";
import { Skeletons } from "../../parts/Skeletons";
import { Trouble } from "../../parts/Trouble";
import { Filters } from "./Filters";
import { askedIn, narrowed, request, type Asked } from "./filters";
import { Hit } from "./Hit";
import "./search.css";

function useHits(asked: Asked) {
  return useQuery({
    queryKey: ["search", asked],
    enabled: asked.q !== "",
    queryFn: ({ signal }): Promise<SearchHit[]> => data(client.POST("/rag/search", { body: request(asked), signal })),
  });
}

export default function Search() {
  const { t } = useTranslation("search");
  const navigate = useNavigate();
  const asked = askedIn(useSearch({ strict: false }));
  const { data: hits, error, isFetching, refetch } = useHits(asked);
  const ask = (next: Partial<Asked>) => void navigate({ to: "/search", search: { ...asked, ...next } as never });

  function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const q = String(new FormData(event.currentTarget).get("query")).trim();
    if (q) ask({ q });
  }
  const none = hits?.length === 0 && !isFetching;
  return (
    <>
      <PageHeader title={t("title")} />
      <form className="row" role="search" onSubmit={submit} key={asked.q}>
        <TextInput
          className="grow" name="query" type="search" size="md" aria-label={t("label")} placeholder={t("hint")} defaultValue={asked.q} dir="auto"
          autoFocus maxLength={4000} leftSection={<IconSearch size={18} />}
        />
        <Button type="submit" size="md" loading={isFetching}>{t("act")}</Button>
      </form>
      <Filters asked={asked} onAsk={ask} />
      <Trouble what={t("failed")} why={error?.message}>
        <Button size="compact-md" variant="default" onClick={() => void refetch()}>{t("again")}</Button>
      </Trouble>
      {isFetching && !hits && <Skeletons lines={3} />}
      <p className="quiet small" role="status">{hits && !isFetching ? t("found", { count: hits.length }) : ""}</p>
      <ul className="list" aria-busy={isFetching}>{hits?.map((hit) => <Hit key={hit.metadata.memory_id + hit.content} hit={hit} query={asked.q} />)}</ul>
      {none && <Nothing filtered={narrowed(asked).length > 0} onAll={() => ask({ speaker: "", type: "", tag: "", from: "", to: "" })} />}
      {!asked.q && <EmptyState icon={IconSearch} title={t("start.title")} text={t("start.text")} />}
    </>
  );
}

function Nothing({ filtered, onAll }: { filtered: boolean; onAll: () => void }) {
  const { t } = useTranslation("search");
  return (
    <EmptyState icon={IconSearch} title={t("nothing.title")} text={t(filtered ? "nothing.filtered" : "nothing.text")}>
      {filtered && <Button onClick={onAll}>{t("filter.clear")}</Button>}
      <Link to="/">{t("nothing.act")}</Link>
    </EmptyState>
  );
}
