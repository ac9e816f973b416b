/** The account: password, devices, personal tokens. */
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { client, data } from "../client";

export const SESSIONS = ["sessions"] as const;
export const TOKENS = ["tokens"] as const;

export const useSessions = () =>
  useQuery({ queryKey: SESSIONS, queryFn: async ({ signal }) => (await data(client.GET("/auth/sessions", { signal }))).data });

export const endSession = (id: string) =>
  client.DELETE("/auth/sessions/{device_id}", { params: { path: { device_id: id } } });

export function useChangePassword() {
  const cache = useQueryClient();
  return useMutation({
    mutationFn: (change: { current_password: string; new_password: string }) =>
      data(client.POST("/auth/password", { body: change })),
    onSuccess: () => cache.invalidateQueries({ queryKey: SESSIONS }),
  });
}

/** For good, with everything that it owns. */
export const useDeleteAccount = () =>
  useMutation({ mutationFn: (password: string) => client.DELETE("/auth/me", { body: { password } }).then(() => undefined) });

export const useTokens = () =>
  useQuery({ queryKey: TOKENS, queryFn: async ({ signal }) => (await data(client.GET("/auth/tokens", { signal }))).data });

interface NewToken {
  name: string;
  scopes: string[];
  expires_in_days: number | null;
}

export function useMakeToken() {
  const cache = useQueryClient();
  return useMutation({
    mutationFn: (token: NewToken) => data(client.POST("/auth/tokens", { body: token })),
    onSuccess: () => cache.invalidateQueries({ queryKey: TOKENS }),
  });
}

export const deleteToken = (id: string) =>
  client.DELETE("/auth/tokens/{token_id}", { params: { path: { token_id: id } } });
