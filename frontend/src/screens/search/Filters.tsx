/** Who, what, which tag, from when to when. Open where one of them is used. */
import { Button } from "@mantine/core";
import { IconAdjustmentsHorizontal } from "@tabler/icons-react";
import { useState, type KeyboardEvent } from "react";
import { useTranslation } from "react-i18next";
import { useKnownSpeakers } from "../../api/queries/transcript";
import { narrowed, TYPES, type Asked, type Filter } from "./filters";

interface Props {
  asked: Asked;
  onAsk: (next: Partial<Asked>) => void;
}

export function Filters({ asked, onAsk }: Props) {
  const { t } = useTranslation("search");
  const count = narrowed(asked).length;
  const [open, setOpen] = useState(count > 0);
  return (
    <div className="filters">
      <Button
        variant="subtle" color="gray" size="compact-md" aria-expanded={open} aria-controls="filters" onClick={() => setOpen(!open)}
        leftSection={<IconAdjustmentsHorizontal size={18} />}
      >
        {count ? t("filter.some", { count }) : t("filter.none")}
      </Button>
      {count > 0 && <Button variant="subtle" size="compact-md" onClick={() => onAsk({ speaker: "", type: "", tag: "", from: "", to: "" })}>{t("filter.clear")}</Button>}
      <div id="filters" className="filter-fields" role="group" aria-label={t("filter.none")} hidden={!open}>
        {open && <Fields asked={asked} onAsk={onAsk} />}
      </div>
    </div>
  );
}

function Fields({ asked, onAsk }: Props) {
  const { t } = useTranslation("search");
  const { data: known } = useKnownSpeakers();
  const names = [...new Set([...(known?.data.map((each) => each.name) ?? []), ...(asked.speaker ? [asked.speaker] : [])])].sort();
  return (
    <>
      <label>
        {t("filter.type")}
        <select className="select" value={asked.type} onChange={(event) => onAsk({ type: event.target.value })}>
          <option value="">{t("filter.anything")}</option>
          {TYPES.map((type) => <option key={type} value={type}>{t(`types.${type}`)}</option>)}
        </select>
      </label>
      <label>
        {t("filter.speaker")}
        <select className="select" value={asked.speaker} onChange={(event) => onAsk({ speaker: event.target.value })}>
          <option value="">{t("filter.anybody")}</option>
          {names.map((name) => <option key={name} value={name}>{name}</option>)}
        </select>
      </label>
      <Typed filter="tag" type="text" asked={asked} onAsk={onAsk} />
      <Typed filter="from" type="date" asked={asked} onAsk={onAsk} />
      <Typed filter="to" type="date" asked={asked} onAsk={onAsk} />
    </>
  );
}

/** A field that is typed into: it asks when it is left, or by Enter. */
function Typed({ filter, type, asked, onAsk }: Props & { filter: Filter; type: "text" | "date" }) {
  const { t } = useTranslation("search");
  const ask = (value: string) => value !== asked[filter] && onAsk({ [filter]: value });
  const key = (event: KeyboardEvent<HTMLInputElement>) => event.key === "Enter" && ask(event.currentTarget.value.trim());
  return (
    <label>
      {t(`filter.${filter}`)}
      <input
        key={asked[filter]} className="select" type={type} defaultValue={asked[filter]} maxLength={type === "text" ? 64 : undefined} dir="auto"
        onBlur={(event) => ask(event.target.value.trim())} onKeyDown={key}
      />
    </label>
  );
}
