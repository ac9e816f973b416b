/** Everything that is remembered, where it was heard, and what may be done about it. `?view=` is the part that is shown. */
import { ActionIcon, Button } from "@mantine/core";
import { IconPlus } from "@tabler/icons-react";
import { Link } from "@tanstack/react-router";
import { lazy, Suspense, useState } from "react";
import { useTranslation } from "react-i18next";
import { useShortcut } from "../../app/shortcuts";
import { useInboxCount } from "../../api/queries/facts";
import { PageHeader } from "../../parts/PageHeader";
import { Skeletons } from "../../parts/Skeletons";
import { EXACT, useAddress, useGo } from "./address";
import { List } from "./List";
import { MemoryDialog, NewMemoryDialog } from "./MemoryDialog";
import "./memories.css";

const VIEWS = {
  all: List,
  facts: lazy(() => import("./Facts")),
  documents: lazy(() => import("./Documents")),
  map: lazy(() => import("./Map")),
  checkup: lazy(() => import("./CheckUp")),
};
type View = keyof typeof VIEWS;

export default function Memories() {
  const { t } = useTranslation("memories");
  const { view, memory } = useAddress();
  const go = useGo();
  const [adding, setAdding] = useState(false);
  const shown: View = view && view in VIEWS ? (view as View) : "all";
  const Part = VIEWS[shown];
  useShortcut("n", t("add"), () => setAdding(true));
  return (
    <div className="wide">
      <PageHeader title={t("title")}>
        <ActionIcon className="mem-narrow" variant="light" size={40} aria-label={t("add")} onClick={() => setAdding(true)}><IconPlus size={20} /></ActionIcon>
        <Button className="mem-broad" variant="light" leftSection={<IconPlus size={18} />} onClick={() => setAdding(true)}>{t("add")}</Button>
      </PageHeader>
      <Views shown={shown} />
      <Suspense fallback={<Skeletons lines={4} />}><Part /></Suspense>
      {memory && <MemoryDialog key={memory} id={memory} onClose={() => go({ memory: undefined })} />}
      {adding && <NewMemoryDialog onClose={() => setAdding(false)} />}
    </div>
  );
}

function Views({ shown }: { shown: View }) {
  const { t } = useTranslation("memories");
  const waiting = useInboxCount();
  return (
    <nav className="mem-views" aria-label={t("views.name")}>
      {(Object.keys(VIEWS) as View[]).map((view) => (
        <Link key={view} to="/memories" search={(view === "all" ? {} : { view }) as never} aria-current={view === shown ? "page" : undefined} activeOptions={EXACT}>
          {t(`views.${view}`)}{view === "facts" && waiting > 0 && <span className="count">{waiting}</span>}
        </Link>
      ))}
    </nav>
  );
}
