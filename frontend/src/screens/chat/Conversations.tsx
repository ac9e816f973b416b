/** What was asked before: found by its title, renamed in its place, thrown away with a way back. */
import { ActionIcon, Button, Menu, TextInput } from "@mantine/core";
import { IconDots, IconPencil, IconSearch, IconTrash } from "@tabler/icons-react";
import { useQueryClient } from "@tanstack/react-query";
import { Link, useNavigate } from "@tanstack/react-router";
import { useEffect, useState } from "react";
import { useTranslation } from "react-i18next";
import { CONVERSATIONS, removeConversation, useConversations, useRenameConversation, type ConversationSummary } from "../../api/queries/conversations";
import { day } from "../../format";
import { discard, useHidden } from "../../parts/hidden";
import { Skeletons } from "../../parts/Skeletons";
import { Trouble } from "../../parts/Trouble";
import { fail } from "../../parts/UndoToast";

export function Conversations({ shown, onChosen }: { shown: string | undefined; onChosen?: () => void }) {
  const { t } = useTranslation("chat");
  const [wanted, setWanted] = useState("");
  const { data, error, refetch, hasNextPage, fetchNextPage, isFetchingNextPage } = useConversations();
  const hidden = useHidden();
  const all = data?.pages.flatMap((page) => page.data).filter((each) => !hidden.has(each.conversation_id));
  const words = wanted.trim().toLocaleLowerCase();
  const found = all?.filter((each) => each.title.toLocaleLowerCase().includes(words));
  // The server does not search titles: all of them are fetched while somebody looks for one.
  useEffect(() => {
    if (words && hasNextPage && !isFetchingNextPage) void fetchNextPage();
  }, [words, hasNextPage, isFetchingNextPage, fetchNextPage]);
  return (
    <nav aria-label={t("list.title")}>
      <TextInput
        type="search" aria-label={t("list.search")} placeholder={t("list.search")} leftSection={<IconSearch size={16} />} value={wanted} dir="auto"
        onChange={(event) => setWanted(event.currentTarget.value)}
      />
      <Trouble why={error?.message}><Button size="compact-md" variant="default" onClick={() => void refetch()}>{t("again")}</Button></Trouble>
      {!all && !error && <Skeletons lines={3} />}
      <ul className="list chat-list">{found?.map((each) => <Item key={each.conversation_id} item={each} shown={each.conversation_id === shown} onChosen={onChosen} />)}</ul>
      {found?.length === 0 && <p className="quiet small">{words ? t("list.none", { words: wanted }) : t("list.empty")}</p>}
      {hasNextPage && !words && <Button variant="subtle" size="compact-md" loading={isFetchingNextPage} onClick={() => void fetchNextPage()}>{t("list.more")}</Button>}
    </nav>
  );
}

function useRemove(item: ConversationSummary, shown: boolean) {
  const { t } = useTranslation("chat");
  const cache = useQueryClient();
  const navigate = useNavigate();
  return () => {
    if (shown) void navigate({ to: "/chat" });
    discard(item.conversation_id, t("list.deleted", { title: item.title }), () => removeConversation(item.conversation_id), () =>
      cache.invalidateQueries({ queryKey: CONVERSATIONS }));
  };
}

function Item({ item, shown, onChosen }: { item: ConversationSummary; shown: boolean; onChosen?: () => void }) {
  const { t } = useTranslation("chat");
  const [naming, setNaming] = useState(false);
  const remove = useRemove(item, shown);
  if (naming) return <li><Rename item={item} onEnd={() => setNaming(false)} /></li>;
  return (
    <li className="chat-item">
      <Link to="/chat" search={{ c: item.conversation_id } as never} aria-current={shown ? "page" : undefined} activeOptions={{ exact: true }} onClick={onChosen}>
        <span className="chat-item-title" dir="auto">{item.title}</span>
        <span className="quiet small">{day(item.updated_at)}</span>
      </Link>
      <Menu position="bottom-end" shadow="md">
        <Menu.Target>
          <ActionIcon variant="subtle" color="gray" size="lg" aria-label={t("list.menu", { title: item.title })}><IconDots size={18} /></ActionIcon>
        </Menu.Target>
        <Menu.Dropdown>
          <Menu.Item leftSection={<IconPencil size={18} />} onClick={() => setNaming(true)}>{t("list.rename")}</Menu.Item>
          <Menu.Item leftSection={<IconTrash size={18} />} onClick={remove}>{t("list.delete")}</Menu.Item>
        </Menu.Dropdown>
      </Menu>
    </li>
  );
}

function Rename({ item, onEnd }: { item: ConversationSummary; onEnd: () => void }) {
  const { t } = useTranslation("chat");
  const rename = useRenameConversation();
  const [title, setTitle] = useState(item.title);
  function save() {
    const next = title.trim();
    if (next && next !== item.title) rename.mutate({ id: item.conversation_id, title: next }, { onError: fail });
    onEnd();
  }
  return (
    <form onSubmit={(event) => { event.preventDefault(); save(); }}>
      <TextInput
        value={title} maxLength={200} autoFocus dir="auto" aria-label={t("list.name")} data-autofocus onChange={(event) => setTitle(event.currentTarget.value)} onBlur={save}
        onKeyDown={(event) => { if (event.key === "Escape") { event.stopPropagation(); onEnd(); } }}
      />
    </form>
  );
}
