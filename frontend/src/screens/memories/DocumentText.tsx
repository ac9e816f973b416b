/** A plain text as it came, with the place that a citation names. Never as HTML. */
import { useQuery } from "@tanstack/react-query";
import { useEffect, useRef } from "react";
import { useTranslation } from "react-i18next";
import { documentFile, type Document } from "../../api/queries/documents";
import { MEMORIES } from "../../api/queries/memories";
import { Skeletons } from "../../parts/Skeletons";
import { Trouble } from "../../parts/Trouble";

/** What is longer is downloaded. */
const MOST_BYTES = 500_000;

/** The text in three: before the place, its paragraph, and after. `at` counts characters, as the server does. */
export function around(text: string, at: number | null): [string, string, string] {
  const characters = at === null ? [] : [...text];
  if (at === null || at >= characters.length) return [text, "", ""];
  const start = characters.slice(0, at).join("").length;
  const end = text.indexOf("\n\n", start);
  return [text.slice(0, start), text.slice(start, end < 0 ? undefined : end), end < 0 ? "" : text.slice(end)];
}

export function DocumentText({ document: found, at }: { document: Document; at: number | null }) {
  const { t } = useTranslation("memories");
  const place = useRef<HTMLElement>(null);
  const short = found.size_bytes <= MOST_BYTES;
  const { data: text, error } = useQuery({
    queryKey: [...MEMORIES, "document-text", found.document_id],
    enabled: short,
    queryFn: async ({ signal }) => (await documentFile(found.document_id, signal)).text(),
  });
  useEffect(() => {
    void place.current?.scrollIntoView({ block: "center" }); // newer browsers give a promise back, which is no clean-up
  }, [text, at]);
  if (!short) return <p className="quiet small">{t("docs.long")}</p>;
  if (error) return <Trouble why={error.message} />;
  if (text === undefined) return <Skeletons lines={2} />;
  const [before, here, after] = around(text.replace(/\r\n?/g, "\n"), at);
  return (
    <section className="card mem-paper" aria-label={t("docs.text")}>
      <div dir="auto">{before}{here && <mark ref={place}>{here}</mark>}{after}</div>
    </section>
  );
}
