import { Button, ActionIcon } from "@mantine/core";
import { IconKey, IconTrash } from "@tabler/icons-react";
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import type { AccessTokenCreated } from "../../api/client";
import { deleteToken, TOKENS, useTokens } from "../../api/queries/account";
import { day } from "../../format";
import { EmptyState } from "../../parts/EmptyState";
import { Skeletons } from "../../parts/Skeletons";
import { Trouble } from "../../parts/Trouble";
import { undoableLater } from "../../parts/UndoToast";
import { Block } from "./Block";
import { NewToken } from "./NewToken";
import { Secret } from "./Secret";

/** For scripts and other programs: each may do what its scopes say. */
export function Tokens() {
  const { t } = useTranslation("settings");
  const { data: tokens, error, refetch } = useTokens();
  const [made, setMade] = useState<AccessTokenCreated | null>(null);
  const remove = useRemove();
  return (
    <>
      <Block title={t("tokens.new")} text={t("tokens.text")}>
        {made
          ? <Secret label={t("tokens.secret", { name: made.name })} text={t("tokens.once")} value={made.token} done={t("tokens.kept")} onDone={() => setMade(null)} />
          : <NewToken onMade={setMade} />}
      </Block>
      <Block title={t("tokens.title")}>
        <Trouble why={error?.message}><Button variant="default" size="compact-md" onClick={() => void refetch()}>{t("again")}</Button></Trouble>
        {!tokens && !error && <Skeletons lines={1} />}
        {tokens?.length === 0 && (
          <EmptyState icon={IconKey} title={t("tokens.none")} text={t("tokens.none-text")}>
            <Button variant="default" onClick={() => document.getElementById("token-name")?.focus()}>{t("tokens.new")}</Button>
          </EmptyState>
        )}
        <ul className="list rows">
          {tokens?.map((each) => (
            <li key={each.id} className="row">
              <div className="grow">
                <strong dir="auto">{each.name}</strong>
                <p className="quiet small">{each.scopes.map((scope) => t(`scope.${scope}`, { defaultValue: scope })).join(" · ")}</p>
                <p className="facts quiet small">
                  <span>{each.expires_at ? t("tokens.until", { when: day(each.expires_at) }) : t("tokens.forever")}</span>
                  <span>{each.last_used_at ? t("tokens.used", { when: day(each.last_used_at) }) : t("tokens.unused")}</span>
                </p>
              </div>
              <ActionIcon variant="subtle" color="gray" size="lg" aria-label={t("tokens.delete", { name: each.name })} onClick={() => remove(each.id, each.name)}>
                <IconTrash size={20} stroke={1.5} />
              </ActionIcon>
            </li>
          ))}
        </ul>
      </Block>
    </>
  );
}

function useRemove() {
  const { t } = useTranslation("settings");
  const cache = useQueryClient();
  const reload = () => void cache.invalidateQueries({ queryKey: TOKENS });
  return (id: string, name: string) =>
    undoableLater({
      message: t("tokens.deleted", { name }),
      hide: () => cache.setQueryData<{ id: string }[]>(TOKENS, (all) => all?.filter((each) => each.id !== id)),
      commit: () => deleteToken(id).then(reload),
      restore: reload,
    });
}
