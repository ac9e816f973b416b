/** The tags of a recording: a click takes one off, a word and Enter puts one on. */
import { IconPlus, IconX } from "@tabler/icons-react";
import { useState, type FormEvent } from "react";
import { useTranslation } from "react-i18next";
import type { Transcript } from "../../api/client";
import { edits, useChange } from "../../api/queries/transcript";

export function Tags({ transcript }: { transcript: Transcript }) {
  const { t } = useTranslation("recording");
  const [adding, setAdding] = useState(false);
  const change = useChange(transcript);
  const { tags = [] } = transcript;
  const put = (message: string, next: string[]) => change(message, () => edits(transcript).details({ tags: next }));

  async function add(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const tag = String(new FormData(event.currentTarget).get("tag")).trim();
    if (!tag || tags.includes(tag)) return setAdding(false);
    if (await put(t("tags.added", { tag }), [...tags, tag])) setAdding(false);
  }
  return (
    <ul className="tags small" aria-label={t("tags.name")}>
      {tags.map((tag) => (
        <li key={tag} className="tag">
          <bdi>{tag}</bdi>
          <button aria-label={t("tags.remove", { tag })} onClick={() => void put(t("tags.removed", { tag }), tags.filter((each) => each !== tag))}>
            <IconX size={14} aria-hidden="true" />
          </button>
        </li>
      ))}
      <li>
        {adding
          ? (
            <form onSubmit={(event) => void add(event)} onKeyDown={(event) => event.key === "Escape" && setAdding(false)}>
              <input className="select tag-field" name="tag" aria-label={t("tags.new")} maxLength={64} autoFocus dir="auto" autoComplete="off" />
            </form>
          )
          : <button className="textual" onClick={() => setAdding(true)}><IconPlus size={14} aria-hidden="true" /> {t("tags.add")}</button>}
      </li>
    </ul>
  );
}
