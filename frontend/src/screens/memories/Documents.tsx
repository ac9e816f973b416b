/** Documents: drop one, see it being read, open it at its page. */
import { ActionIcon, Button } from "@mantine/core";
import { IconFileText, IconTrash, IconUpload } from "@tabler/icons-react";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { removeDocument, useDocuments, type Document } from "../../api/queries/documents";
import { useStale } from "../../api/queries/memories";
import { day, number } from "../../format";
import { EmptyState } from "../../parts/EmptyState";
import { discard, useHidden } from "../../parts/hidden";
import { Progress } from "../../parts/Progress";
import { Skeletons } from "../../parts/Skeletons";
import { Trouble } from "../../parts/Trouble";
import { useAddress } from "./address";
import { DocumentPage } from "./DocumentPage";
import { useSendings, type Sending } from "./sending";

const KINDS = ".txt,.md,.html,.htm,.pdf,.docx,.eml";

export default function Documents() {
  const { doc } = useAddress();
  return doc ? <DocumentPage key={doc} id={doc} /> : <Shelf />;
}

function Shelf() {
  const { t } = useTranslation("memories");
  const { data, error, refetch, hasNextPage, fetchNextPage, isFetchingNextPage } = useDocuments();
  const { sendings, bring, again } = useSendings();
  const hidden = useHidden();
  const list = data?.pages.flatMap((page) => page.data).filter((each) => !hidden.has(each.document_id));
  return (
    <>
      <Drop onFiles={bring} />
      <Trouble why={error?.message}><Button size="compact-md" variant="default" onClick={() => void refetch()}>{t("again")}</Button></Trouble>
      {sendings.map((each) => <OnItsWay key={each.key} sending={each} onAgain={() => again(each)} />)}
      {!list && !error && <Skeletons lines={3} />}
      {list?.length === 0 && sendings.length === 0 && (
        <EmptyState icon={IconFileText} title={t("docs.none.title")} text={t("docs.none.text")}>
          <Button variant="light" onClick={() => document.getElementById("document-file")?.click()}>{t("docs.none.act")}</Button>
        </EmptyState>
      )}
      <ul className="list">{list?.map((each) => <Item key={each.document_id} document={each} />)}</ul>
      {hasNextPage && <Button variant="default" loading={isFetchingNextPage} onClick={() => void fetchNextPage()}>{t("more")}</Button>}
    </>
  );
}

function Drop({ onFiles }: { onFiles: (files: FileList | null) => void }) {
  const { t } = useTranslation("memories");
  const [over, setOver] = useState(false);
  return (
    <label
      className={`mem-drop ${over ? "over" : ""}`} onDragOver={(event) => { event.preventDefault(); setOver(true); }} onDragLeave={() => setOver(false)}
      onDrop={(event) => { event.preventDefault(); setOver(false); onFiles(event.dataTransfer.files); }}
    >
      <input id="document-file" type="file" multiple accept={KINDS} onChange={(event) => { onFiles(event.target.files); event.target.value = ""; }} />
      <IconUpload size={24} stroke={1.5} aria-hidden="true" />
      <span><strong>{t("docs.drop")}</strong><span className="quiet small">{t("docs.kinds")}</span></span>
    </label>
  );
}

function OnItsWay({ sending, onAgain }: { sending: Sending; onAgain: () => void }) {
  const { t } = useTranslation("memories");
  const { name, share, trouble, cancel } = sending;
  return (
    <div className="card">
      <strong dir="auto">{name}</strong>
      {!trouble && <Progress label={t("docs.sending", { name })} percent={share * 100} stage="upload" />}
      <Trouble what={t("docs.failed")} why={trouble}><Button size="compact-md" variant="default" onClick={onAgain}>{t("again")}</Button></Trouble>
      <div className="mem-acts"><Button size="compact-md" variant="subtle" color="gray" onClick={cancel}>{trouble ? t("close") : t("cancel")}</Button></div>
    </div>
  );
}

export function size(bytes: number): string {
  const [value, unit] = bytes < 1e3 ? [bytes, "byte"] : bytes < 1e6 ? [bytes / 1e3, "kilobyte"] : [bytes / 1e6, "megabyte"];
  return number(Number(value), { style: "unit", unit: String(unit), maximumFractionDigits: 1 });
}

/** What could not be read may have no title. */
export const nameOf = ({ title, filename, document_id: id }: Document): string => title || filename || id;

export function useRemoveDocument() {
  const { t } = useTranslation("memories");
  const stale = useStale();
  return (gone: Document) => discard(gone.document_id, t("docs.deleted", { title: nameOf(gone) }), () => removeDocument(gone.document_id), stale);
}

function Item({ document: each }: { document: Document }) {
  const { t } = useTranslation("memories");
  const remove = useRemoveDocument();
  const title = nameOf(each);
  const { document_id: doc, status, type, pages, size_bytes: bytes, created_at: at } = each;
  return (
    <li className="card row">
      <div className="grow">
        <h2><Link to="/memories" search={{ view: "documents", doc } as never} dir="auto">{title}</Link></h2>
        <p className="facts quiet small">
          <span>{day(at)}</span>{type && <span>{type}</span>}<span>{size(bytes)}</span>{pages != null && <span>{t("docs.pages", { count: pages })}</span>}
        </p>
        {status === "processing" && <p className="small quiet" role="status">{t("docs.reading")}</p>}
        <Trouble why={status === "failed" ? (each.error ?? t("docs.unread")) : null} />
      </div>
      <ActionIcon variant="subtle" color="gray" size="lg" aria-label={t("docs.delete", { title })} onClick={() => remove(each)}><IconTrash size={20} stroke={1.5} /></ActionIcon>
    </li>
  );
}
