import { Button } from "@mantine/core";
import { IconShieldCheck, IconShieldX } from "@tabler/icons-react";
import { useTranslation } from "react-i18next";
import { useAudit, useUsers } from "../../api/queries/admin";
import { day, number } from "../../format";
import { Skeletons } from "../../parts/Skeletons";
import { Trouble } from "../../parts/Trouble";

/** Who did what to accounts, sessions and tokens; each entry is chained to the one before. */
export function AuditLog() {
  const { t } = useTranslation("admin");
  const { data, error, refetch, hasNextPage, fetchNextPage, isFetchingNextPage } = useAudit();
  const first = data?.pages[0];
  return (
    <>
      <Trouble why={error?.message}><Button variant="default" size="compact-md" onClick={() => void refetch()}>{t("again")}</Button></Trouble>
      {!first && !error && <Skeletons lines={3} />}
      {first && <Seal verified={first.verified} broken={first.first_broken ?? null} />}
      {first && <Entries entries={data.pages.flatMap((page) => page.data)} />}
      {hasNextPage && <Button variant="default" loading={isFetchingNextPage} onClick={() => void fetchNextPage()}>{t("more")}</Button>}
    </>
  );
}

function Seal({ verified, broken }: { verified: boolean; broken: number | null }) {
  const { t } = useTranslation("admin");
  const Icon = verified ? IconShieldCheck : IconShieldX;
  return (
    <p className={`seal ${verified ? "" : "broken"}`} role="status">
      <Icon size={22} stroke={1.6} aria-hidden="true" />
      <span>{verified ? t("audit.verified") : t("audit.broken", { number: broken === null ? "?" : number(broken) })}</span>
    </p>
  );
}

interface Entry {
  seq: number;
  at: string;
  action: string;
  actor?: string | null;
  subject?: string | null;
  address?: string | null;
  details?: Record<string, string>;
}

function Entries({ entries }: { entries: readonly Entry[] }) {
  const { t } = useTranslation("admin");
  const users = useUsers().data;
  const name = (id: string | null | undefined) => (id ? (users?.find((each) => each.id === id)?.username ?? id) : "–");
  return (
    <div className="card scroll" tabIndex={0} role="region" aria-label={t("section.audit")}>
      <table className="table">
        <thead><tr><th>{t("audit.seq")}</th><th>{t("audit.at")}</th><th>{t("audit.action")}</th><th>{t("audit.actor")}</th><th>{t("audit.subject")}</th><th>{t("audit.address")}</th></tr></thead>
        <tbody>
          {entries.map((each) => (
            <tr key={each.seq}>
              <td>{number(each.seq)}</td>
              <td className="nowrap">{day(each.at)}</td>
              <td>{t(`action.${each.action}`, { defaultValue: each.action })}<Details of={each.details} /></td>
              <td><bdi>{name(each.actor)}</bdi></td>
              <td><bdi>{name(each.subject)}</bdi></td>
              <td>{each.address ?? "–"}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Details({ of: details }: { of: Record<string, string> | undefined }) {
  const pairs = Object.entries(details ?? {});
  return pairs.length > 0 && <span className="quiet small" dir="auto"> {pairs.map(([key, value]) => `${key}: ${value}`).join(", ")}</span>;
}
