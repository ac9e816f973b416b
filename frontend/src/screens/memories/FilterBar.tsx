/** Words, type, tag, speaker, days: each in the address, so that back and a reload keep it. */
import { Button, TextInput } from "@mantine/core";
import { IconAdjustments, IconSearch, IconX } from "@tabler/icons-react";
import { useState, type FormEvent } from "react";
import { useTranslation } from "react-i18next";
import { TYPES, type Filters } from "./filters";
import { useGo } from "./address";

const FIELDS = ["tag", "speaker", "from", "to"] as const;

export function FilterBar({ filters }: { filters: Filters }) {
  const { t } = useTranslation("memories");
  const go = useGo();
  const set = FIELDS.filter((name) => filters[name]);
  const [open, setOpen] = useState(set.length > 0);
  function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    go(Object.fromEntries(["q", ...FIELDS].map((name) => [name, String(form.get(name) ?? filters[name as keyof Filters] ?? "").trim() || undefined])));
  }
  return (
    <form role="search" className="mem-filters" onSubmit={submit} key={JSON.stringify(filters)}>
      <div className="mem-filter-row">
        <TextInput
          className="grow" name="q" type="search" aria-label={t("filter.words")} placeholder={t("filter.words")} defaultValue={filters.q} dir="auto" maxLength={4000}
          leftSection={<IconSearch size={18} />}
        />
        <select className="select" aria-label={t("filter.type")} value={filters.type ?? ""} onChange={(event) => go({ type: event.target.value || undefined })}>
          <option value="">{t("filter.any")}</option>
          {TYPES.map((type) => <option key={type} value={type}>{t(`types.${type}`)}</option>)}
        </select>
        <Button variant="default" leftSection={<IconAdjustments size={18} />} aria-expanded={open} onClick={() => setOpen(!open)}>
          {set.length ? t("filter.more-set", { count: set.length }) : t("filter.more")}
        </Button>
      </div>
      {open && (
        <div className="mem-filter-more">
          <TextInput name="tag" label={t("filter.tag")} defaultValue={filters.tag} maxLength={64} dir="auto" />
          <TextInput name="speaker" label={t("filter.speaker")} defaultValue={filters.speaker} maxLength={200} dir="auto" />
          <TextInput name="from" type="date" label={t("filter.from")} defaultValue={filters.from} />
          <TextInput name="to" type="date" label={t("filter.to")} defaultValue={filters.to} />
          <Button type="submit">{t("filter.act")}</Button>
        </div>
      )}
      {set.length > 0 && (
        <ul className="mem-set" aria-label={t("filter.set")}>
          {set.map((name) => (
            <li key={name}>
              <Button
                size="compact-sm" variant="light" radius="xl" rightSection={<IconX size={14} />} onClick={() => go({ [name]: undefined })}
                aria-label={t("filter.remove", { name: t(`filter.${name}`), value: filters[name] })}
              >
                {t(`filter.${name}`)}: <bdi>{filters[name]}</bdi>
              </Button>
            </li>
          ))}
        </ul>
      )}
    </form>
  );
}
