import { ActionIcon, Button } from "@mantine/core";
import { IconTrash } from "@tabler/icons-react";
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import type { User } from "../../api/client";
import { deleteUser, useEditUser, USERS, useUsers } from "../../api/queries/admin";
import { useUser } from "../../app/session";
import { day } from "../../format";
import { Skeletons } from "../../parts/Skeletons";
import { Trouble } from "../../parts/Trouble";
import { undoable, undoableLater } from "../../parts/UndoToast";
import { NewUser } from "./NewUser";

export function Users() {
  const { t } = useTranslation("admin");
  const { data: users, error, refetch } = useUsers();
  const [adding, setAdding] = useState(false);
  return (
    <>
      <div className="facts admin-acts"><Button variant={adding ? "default" : "filled"} aria-expanded={adding} onClick={() => setAdding(!adding)}>{t("new.open")}</Button></div>
      {adding && <NewUser onMade={() => setAdding(false)} />}
      <Trouble why={error?.message}><Button variant="default" size="compact-md" onClick={() => void refetch()}>{t("again")}</Button></Trouble>
      {!users && !error && <Skeletons lines={3} />}
      <ul className="list">{users?.map((each) => <Row key={each.id} user={each} />)}</ul>
    </>
  );
}

function Row({ user }: { user: User }) {
  const { t } = useTranslation("admin");
  const me = useUser().id === user.id;
  const { change, remove } = useChanges(user);
  const other = user.role === "admin" ? "user" : "admin";
  return (
    <li className="card row user">
      <div className="grow">
        <strong><bdi>{user.username}</bdi></strong>
        {me && <span className="badge">{t("you")}</span>}
        {user.disabled && <span className="badge off">{t("disabled")}</span>}
        <p className="quiet small">{t(`role.${user.role}`)}{user.created_at && ` · ${t("since", { when: day(user.created_at) })}`}</p>
      </div>
      {!me && (
        <div className="facts">
          <Button variant="default" size="compact-sm" aria-label={`${t(`make.${other}`)}: ${user.username}`} onClick={() => change({ role: other }, { role: user.role })}>{t(`make.${other}`)}</Button>
          <Button variant="default" size="compact-sm" aria-label={`${t(user.disabled ? "enable" : "disable")}: ${user.username}`} onClick={() => change({ disabled: !user.disabled }, { disabled: user.disabled ?? false })}>
            {t(user.disabled ? "enable" : "disable")}
          </Button>
          <ActionIcon variant="subtle" color="gray" size="lg" aria-label={t("delete", { name: user.username })} onClick={remove}><IconTrash size={20} stroke={1.5} /></ActionIcon>
        </div>
      )}
    </li>
  );
}

type Change = { role?: "admin" | "user"; disabled?: boolean };

/** A role or a lock is put back by a click; an account is deleted when nobody wanted it back. */
function useChanges(user: User) {
  const { t } = useTranslation("admin");
  const cache = useQueryClient();
  const edit = useEditUser();
  const reload = () => void cache.invalidateQueries({ queryKey: USERS });
  const change = (next: Change, before: Change) =>
    void undoable({
      message: t("changed", { name: user.username }),
      action: () => edit.mutateAsync({ id: user.id, ...next }),
      undo: () => edit.mutateAsync({ id: user.id, ...before }),
    });
  const remove = () =>
    undoableLater({
      message: t("deleted", { name: user.username }),
      hide: () => cache.setQueryData<User[]>(USERS, (all) => all?.filter((each) => each.id !== user.id)),
      commit: () => deleteUser(user.id).then(reload),
      restore: reload,
    });
  return { change, remove };
}
