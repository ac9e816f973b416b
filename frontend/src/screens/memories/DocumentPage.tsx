/** One document: what was read of it, its passages by search, the file as it came. `?at=` and `?page=` are the place a citation names. */
import { Button, TextInput } from "@mantine/core";
import { IconArrowLeft, IconDownload, IconSearch, IconTrash } from "@tabler/icons-react";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { documentFile, useDocument, type Document } from "../../api/queries/documents";
import { useSearchWithin } from "../../api/queries/memories";
import { day, number } from "../../format";
import { Skeletons } from "../../parts/Skeletons";
import { Trouble } from "../../parts/Trouble";
import { fail } from "../../parts/UndoToast";
import { useAddress, useGo } from "./address";
import { DocumentText } from "./DocumentText";
import { nameOf, size, useRemoveDocument } from "./Documents";

async function download(found: Document): Promise<void> {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await documentFile(found.document_id));
  link.download = found.filename ?? nameOf(found);
  link.click();
  URL.revokeObjectURL(link.href);
}

export function DocumentPage({ id }: { id: string }) {
  const { t } = useTranslation("memories");
  const { data: found, error } = useDocument(id);
  return (
    <>
      <Link className="back" to="/memories" search={{ view: "documents" } as never}><IconArrowLeft size={18} aria-hidden="true" />{t("docs.all")}</Link>
      <Trouble what={t("docs.unreadable")} why={found ? null : error?.message} />
      {!found && !error && <Skeletons lines={3} />}
      {found && <Sheet document={found} />}
    </>
  );
}

function Sheet({ document: found }: { document: Document }) {
  const { t } = useTranslation("memories");
  const { at, page } = useAddress();
  const go = useGo();
  const remove = useRemoveDocument();
  const { type, pages, size_bytes: bytes, chunks = 0, attachments = [], warnings = [] } = found;
  return (
    <article className="mem-doc">
      <h2 dir="auto">{nameOf(found)}</h2>
      <p className="facts quiet small">
        <span>{day(found.occurred_at ?? found.created_at)}</span>{type && <span>{type}</span>}<span>{size(bytes)}</span>
        {pages != null && <span>{t("docs.pages", { count: pages })}</span>}<span>{t("docs.passages", { count: chunks, shown: number(chunks) })}</span>
      </p>
      {page && <p className="notice small">{t("docs.at-page", { page })}</p>}
      <Trouble why={found.status === "failed" ? (found.error ?? t("docs.unread")) : null} />
      {found.status === "processing" && <p role="status">{t("docs.reading")}</p>}
      {warnings.map((each) => <p key={each.code} className="notice small">{each.detail}</p>)}
      {attachments.length > 0 && <p className="small">{t("docs.attachments")} <bdi>{attachments.join(", ")}</bdi></p>}
      <div className="mem-acts">
        <Button variant="light" leftSection={<IconDownload size={18} />} onClick={() => void download(found).catch(fail)}>{t("docs.download")}</Button>
        <Button variant="default" leftSection={<IconTrash size={18} />} onClick={() => { remove(found); go({ doc: undefined, page: undefined, at: undefined }); }}>{t("docs.remove")}</Button>
      </div>
      {found.status === "completed" && <Within document={found} />}
      {found.status === "completed" && (type === "txt" || type === "md") && <DocumentText document={found} at={at === undefined ? null : Number(at)} />}
    </article>
  );
}

/** Passages of this document; the server searches all documents, the others are left out here. */
function Within({ document: found }: { document: Document }) {
  const { t } = useTranslation("memories");
  const [query, setQuery] = useState("");
  const { data, error, isFetching } = useSearchWithin(query ? { query, top_k: 100, mode: "hybrid", types: ["document"] } : null);
  const hits = data?.filter((hit) => hit.metadata.document_id === found.document_id).slice(0, 20);
  return (
    <section aria-label={t("docs.search")}>
      <form className="row mem-within" role="search" onSubmit={(event) => { event.preventDefault(); setQuery(String(new FormData(event.currentTarget).get("query")).trim()); }}>
        <TextInput className="grow" name="query" type="search" aria-label={t("docs.search")} placeholder={t("docs.search")} dir="auto" maxLength={4000} leftSection={<IconSearch size={18} />} />
        <Button type="submit" variant="default" loading={isFetching}>{t("docs.find")}</Button>
      </form>
      <Trouble why={error?.message} />
      <p className="quiet small" role="status">{hits && t("docs.found", { count: hits.length })}</p>
      <ol className="list">
        {hits?.map((hit) => (
          <li key={hit.metadata.memory_id} className="card">
            <p className="mem-text" dir="auto">{hit.content}</p>
            {hit.metadata.page != null && <p className="quiet small">{t("on-page", { page: hit.metadata.page })}</p>}
          </li>
        ))}
      </ol>
    </section>
  );
}
