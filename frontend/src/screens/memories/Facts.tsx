/** What the memory learnt by itself: the inbox, what is locked away, what holds, and what held once. */
import { Button } from "@mantine/core";
import { IconInbox } from "@tabler/icons-react";
import { Link } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { useFacts, type FactState } from "../../api/queries/facts";
import { EmptyState } from "../../parts/EmptyState";
import { useHidden } from "../../parts/hidden";
import { Skeletons } from "../../parts/Skeletons";
import { Trouble } from "../../parts/Trouble";
import { FactCard } from "./FactCard";
import { EXACT, useAddress } from "./address";

const STATES: FactState[] = ["pending", "active", "quarantined", "superseded", "rejected"];

export default function Facts() {
  const { t } = useTranslation("memories");
  const { state: wanted } = useAddress();
  const state = STATES.find((each) => each === wanted) ?? "pending";
  const hidden = useHidden();
  const { data, error, refetch, hasNextPage, fetchNextPage, isFetchingNextPage } = useFacts(state);
  const facts = data?.pages.flatMap((page) => page.data).filter((fact) => !hidden.has(fact.memory_id));
  return (
    <>
      <nav className="mem-states" aria-label={t("states.name")}>
        {STATES.map((each) => (
          <Link key={each} to="/memories" search={{ view: "facts", state: each } as never} aria-current={each === state ? "page" : undefined} activeOptions={EXACT}>
            {t(`states.${each}`)}
          </Link>
        ))}
      </nav>
      <h2 id="facts-title" className="hidden" tabIndex={-1}>{t(`states.${state}`)}</h2>
      <p className="quiet small">{t(`states.about.${state}`)}</p>
      <Trouble why={error?.message}><Button size="compact-md" variant="default" onClick={() => void refetch()}>{t("again")}</Button></Trouble>
      {!facts && !error && <Skeletons lines={3} />}
      {facts?.length === 0 && (
        <EmptyState icon={IconInbox} title={t(`states.none.${state}`)} text={t("states.none.text")}>
          {state === "pending" && <Link to="/memories" search={{ view: "facts", state: "active" } as never}>{t("states.none.act")}</Link>}
        </EmptyState>
      )}
      <ul className="list">{facts?.map((fact) => <FactCard key={fact.memory_id} fact={fact} />)}</ul>
      {hasNextPage && <Button variant="default" loading={isFetchingNextPage} onClick={() => void fetchNextPage()}>{t("more")}</Button>}
    </>
  );
}
