/** One fact: the words it was learnt from, since when it holds, why it waits, and what its user may say to it. */
import { Button } from "@mantine/core";
import { IconArrowBackUp, IconCheck, IconLockOpen, IconPencil, IconTrash, IconX } from "@tabler/icons-react";
import { Link } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { decide, useFact, type Decision, type Fact, type FactState } from "../../api/queries/facts";
import { useStale } from "../../api/queries/memories";
import { day, speakerName } from "../../format";
import { undoable } from "../../parts/UndoToast";
import { useAddress } from "./address";
import { short, useForget } from "./Card";
import { Said } from "./Origin";

const ACTS: Record<FactState, { decision: Decision; icon: typeof IconCheck; first?: boolean }[]> = {
  pending: [{ decision: "accept", icon: IconCheck, first: true }, { decision: "reject", icon: IconX }],
  quarantined: [{ decision: "release", icon: IconLockOpen }, { decision: "reject", icon: IconX }],
  active: [{ decision: "reject", icon: IconX }],
  superseded: [],
  rejected: [],
};

function useDecide(fact: Fact) {
  const { t } = useTranslation("memories");
  const stale = useStale();
  return async (decision: Decision) => {
    const { memory_id: id, content } = fact;
    const after = () => stale().then(() => document.getElementById("facts-title")?.focus({ preventScroll: true }));
    await undoable({
      message: t(`decided.${decision}`, { text: short(content) }),
      action: () => decide(id, decision).then(after),
      undo: () => decide(id, "undo").then(after),
    });
  };
}

export function FactCard({ fact }: { fact: Fact }) {
  const { t } = useTranslation("memories");
  const { state, kind, subject, content, reasons = [], evidence = [], valid_from: from, valid_to: to } = fact;
  return (
    <li className={`card mem-fact ${state}`}>
      <p className="facts quiet small">
        <span className="mem-type fact">{t(`kinds.${kind}`)}</span>
        <span>{t("about")} <Person name={subject} /></span>
        <span>{to ? t("from-to", { from: day(from), to: day(to) }) : t("since", { from: day(from) })}</span>
      </p>
      <p className="mem-text" dir="auto">{content}</p>
      {reasons.length > 0 && <p className="notice small">{t("because")} {reasons.map((each) => t(`reasons.${each}`, { defaultValue: each })).join(" ")}</p>}
      {fact.superseded_by && <Successor id={fact.superseded_by} />}
      <ul className="list mem-evidence" aria-label={t("evidence")}>
        {evidence.map((each, at) => (
          <li key={at} className="small">
            {each.quote !== content && <q dir="auto">{each.quote}</q>}
            <span className="facts quiet"><span><Person name={each.said_by} />, {day(each.said_at)}</span><Said evidence={each} /></span>
          </li>
        ))}
      </ul>
      <Acts fact={fact} />
    </li>
  );
}

/** "You" is what the server calls the one who reads this. */
function Person({ name }: { name: string }) {
  const { t } = useTranslation("memories");
  return <bdi>{name === "You" ? t("you") : speakerName(name)}</bdi>;
}

function Successor({ id }: { id: string }) {
  const { t } = useTranslation("memories");
  const { data: after } = useFact(id);
  return after ? <p className="small">{t("replaced")} <bdi>{after.content}</bdi></p> : null;
}

function Acts({ fact }: { fact: Fact }) {
  const { t } = useTranslation("memories");
  const address = useAddress();
  const say = useDecide(fact);
  const forget = useForget();
  const stale = useStale();
  const { memory_id: id, content, state } = fact;
  const takeBack = () => undoable({
    message: t("decided.undo", { text: short(content) }), action: () => decide(id, "undo").then(stale), undo: () => decide(id, state === "rejected" ? "reject" : "accept").then(stale),
  });
  return (
    <div className="mem-acts">
      {ACTS[state].map(({ decision, icon: Icon, first }) => (
        <Button key={decision} size="compact-sm" variant={first ? "filled" : "default"} leftSection={<Icon size={16} />} onClick={() => void say(decision)}>{t(`decide.${decision}`)}</Button>
      ))}
      {state === "rejected" && fact.undoable && (
        <Button size="compact-sm" variant="default" leftSection={<IconArrowBackUp size={16} />} onClick={() => void takeBack()}>{t("decide.undo")}</Button>
      )}
      <Button
        component={Link} size="compact-sm" variant="subtle" color="gray" leftSection={<IconPencil size={16} />} to="/memories"
        search={{ ...address, memory: id } as never}
      >
        {t("edit")}
      </Button>
      <Button
        size="compact-sm" variant="subtle" color="gray" leftSection={<IconTrash size={16} />} onClick={() => forget({ id, content })} aria-label={t("forget-this", { text: short(content) })}
      >
        {t("forget")}
      </Button>
    </div>
  );
}
