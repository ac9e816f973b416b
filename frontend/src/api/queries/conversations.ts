/** Conversations: the list, one with its messages, what changes them. */
import { useInfiniteQuery, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { client, data } from "../client";
import type { components } from "../schema";

export type Conversation = components["schemas"]["Conversation"];
export type ConversationSummary = components["schemas"]["ConversationSummary"];
export type Message = components["schemas"]["Message"];

export const CONVERSATIONS = ["conversations"] as const;
export const conversationKey = (id: string | undefined) => ["conversation", id] as const;
const path = (id: string) => ({ path: { conversation_id: id } });

/** The one that was spoken in last first, a page at a time. */
export function useConversations() {
  return useInfiniteQuery({
    queryKey: CONVERSATIONS,
    initialPageParam: undefined as string | undefined,
    queryFn: ({ pageParam, signal }) =>
      data(client.GET("/gemma/conversations", { params: { query: { limit: 50, ...(pageParam ? { cursor: pageParam } : {}) } }, signal })),
    getNextPageParam: (page) => (page.has_more ? (page.next_cursor ?? undefined) : undefined),
  });
}

export function useConversation(id: string | undefined) {
  return useQuery({
    queryKey: conversationKey(id),
    enabled: id !== undefined,
    queryFn: ({ signal }) => data(client.GET("/gemma/conversations/{conversation_id}", { params: path(id ?? ""), signal })),
  });
}

export function useRenameConversation() {
  const cache = useQueryClient();
  return useMutation({
    mutationFn: ({ id, title }: { id: string; title: string }) =>
      data(client.PATCH("/gemma/conversations/{conversation_id}", { params: path(id), body: { title } })),
    onSuccess: (changed) => {
      cache.setQueryData(conversationKey(changed.conversation_id), changed);
      void cache.invalidateQueries({ queryKey: CONVERSATIONS });
    },
  });
}

export const removeConversation = (id: string) => client.DELETE("/gemma/conversations/{conversation_id}", { params: path(id) });

export const stopAnswer = (messageId: string) =>
  client.POST("/gemma/messages/{message_id}/cancel", { params: { path: { message_id: messageId } } });
