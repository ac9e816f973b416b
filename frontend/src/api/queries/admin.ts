/** What administrators see: accounts, the audit log, models. */
import { useInfiniteQuery, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { client, data, type User } from "../client";

export const USERS = ["users"] as const;
const USERS_AT_ONCE = 200;

/** All accounts, page after page. */
export function useUsers() {
  return useQuery({
    queryKey: USERS,
    queryFn: async ({ signal }) => {
      const all: User[] = [];
      for (let cursor: string | null | undefined = undefined; ;) {
        const page: { data: User[]; next_cursor?: string | null } = await data(
          client.GET("/auth/users", { params: { query: { limit: USERS_AT_ONCE, ...(cursor ? { cursor } : {}) } }, signal }),
        );
        all.push(...page.data);
        cursor = page.next_cursor;
        if (!cursor) return all;
      }
    },
  });
}

export function useEditUser() {
  const cache = useQueryClient();
  return useMutation({
    mutationFn: ({ id, ...change }: { id: string; role?: "admin" | "user"; disabled?: boolean }) =>
      data(client.PATCH("/auth/users/{user_id}", { params: { path: { user_id: id } }, body: change })),
    onSettled: () => cache.invalidateQueries({ queryKey: USERS }),
  });
}

export const deleteUser = (id: string) => client.DELETE("/auth/users/{user_id}", { params: { path: { user_id: id } } });

/** Who did what, the newest first. */
export function useAudit() {
  return useInfiniteQuery({
    queryKey: ["audit"],
    initialPageParam: undefined as string | undefined,
    queryFn: ({ pageParam, signal }) =>
      data(client.GET("/admin/audit", { params: { query: { limit: 50, ...(pageParam ? { cursor: pageParam } : {}) } }, signal })),
    getNextPageParam: (page) => (page.has_more ? (page.next_cursor ?? undefined) : undefined),
  });
}

export const useBackups = () =>
  useQuery({ queryKey: ["backups"], queryFn: ({ signal }) => data(client.GET("/admin/backups", { signal })) });

export const useModels = () =>
  useQuery({ queryKey: ["models"], queryFn: async ({ signal }) => (await data(client.GET("/v1/models", { signal }))).data });

/** What the server says of itself to anybody. */
export const useServerCard = () =>
  useQuery({ queryKey: ["card"], queryFn: ({ signal }) => data(client.GET("/.well-known/nemo-server", { signal })) });
