import { Button } from "@mantine/core";
import { IconDeviceDesktop, IconDeviceMobile } from "@tabler/icons-react";
import { useQueryClient } from "@tanstack/react-query";
import { useTranslation } from "react-i18next";
import { endSession, SESSIONS, useSessions } from "../../api/queries/account";
import { signOut } from "../../api/client";
import { day } from "../../format";
import { Skeletons } from "../../parts/Skeletons";
import { Trouble } from "../../parts/Trouble";
import { fail, undoableLater } from "../../parts/UndoToast";
import { Block } from "./Block";

/** Where the account is signed in; a stranger among them is shown the door. */
export function Devices() {
  const { t } = useTranslation("settings");
  const { data: sessions, error, refetch } = useSessions();
  const end = useEnd();
  return (
    <Block title={t("devices.title")} text={t("devices.text")}>
      <Trouble why={error?.message}><Button variant="default" size="compact-md" onClick={() => void refetch()}>{t("again")}</Button></Trouble>
      {!sessions && !error && <Skeletons lines={2} />}
      <ul className="list rows">
        {sessions?.map((each) => {
          const Picture = /phone|android|ios|ipad/i.test(each.device) ? IconDeviceMobile : IconDeviceDesktop;
          return (
            <li key={each.id} className="row">
              <Picture size={22} stroke={1.5} aria-hidden="true" />
              <div className="grow">
                <strong dir="auto">{each.device}</strong>{each.current && <span className="badge">{t("devices.here")}</span>}
                <p className="quiet small">{t("devices.when", { since: day(each.created_at), last: day(each.last_used_at) })}</p>
              </div>
              <Button
                variant="default" size="compact-md" aria-label={each.current ? undefined : t("devices.end-name", { name: each.device, when: day(each.created_at) })}
                onClick={() => (each.current ? void signOut() : end(each.id, each.device))}
              >
                {t(each.current ? "devices.leave" : "devices.end")}
              </Button>
            </li>
          );
        })}
      </ul>
      {sessions && sessions.length > 1 && (
        <Button variant="default" onClick={() => void endAll(sessions).catch(fail).finally(() => void refetch())}>{t("devices.end-others")}</Button>
      )}
    </Block>
  );
}

async function endAll(sessions: { id: string; current: boolean }[]): Promise<void> {
  for (const each of sessions) if (!each.current) await endSession(each.id);
}

function useEnd() {
  const { t } = useTranslation("settings");
  const cache = useQueryClient();
  const reload = () => void cache.invalidateQueries({ queryKey: SESSIONS });
  return (id: string, name: string) =>
    undoableLater({
      message: t("devices.ended", { name }),
      hide: () => cache.setQueryData<{ id: string }[]>(SESSIONS, (all) => all?.filter((each) => each.id !== id)),
      commit: () => endSession(id).then(reload),
      restore: reload,
    });
}
