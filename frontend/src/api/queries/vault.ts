/** The sealed vault: its state, and what its password does. */
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { client, data, type VaultState } from "../client";
import { lockedHere, setLocked } from "../vault-lock";

export const VAULT = ["vault"] as const;
const FRESH_MS = 60_000;

/** The page locks itself by what it learns here, and by every 423. */
export function useVault() {
  return useQuery({
    queryKey: VAULT,
    staleTime: FRESH_MS,
    queryFn: async ({ signal }) => {
      const state = await data(client.GET("/vault", { signal }));
      setLocked(state.locked);
      return state;
    },
  });
}

function useVaultChange<Given, Answer>(call: (given: Given) => Promise<Answer>) {
  const cache = useQueryClient();
  return useMutation({ mutationFn: call, onSuccess: () => cache.invalidateQueries({ queryKey: VAULT }) });
}

export const useSeal = () =>
  useVaultChange((password: string) => data(client.POST("/vault/seal", { body: { password } })));

export const useUnseal = () =>
  useVaultChange((password: string) => data(client.POST("/vault/unseal", { body: { password } })));

export const useNewCode = () =>
  useVaultChange((password: string) => data(client.POST("/vault/recovery", { body: { password } })));

/** What is not of the vault. */
const PUBLIC = new Set(["health", "vault", "sessions", "tokens", "users", "audit", "models", "card"]);

/** What was read before is not kept in the tab once the vault is locked. */
export function useLock() {
  const cache = useQueryClient();
  return useMutation({
    mutationFn: () => data(client.POST("/vault/lock")),
    onSuccess: (state) => {
      cache.setQueryData(VAULT, state);
      cache.removeQueries({ predicate: (query) => !PUBLIC.has(String(query.queryKey[0])) });
      lockedHere();
    },
  });
}

interface Keys {
  password?: string | null;
  recovery_code?: string | null;
}

export function useUnlock() {
  const cache = useQueryClient();
  return useMutation({
    mutationFn: (keys: Keys): Promise<VaultState> => data(client.POST("/vault/unlock", { body: keys })),
    onSuccess: (state) => {
      setLocked(state.locked);
      cache.setQueryData(VAULT, state);
      void cache.resetQueries({ predicate: (query) => query.state.status === "error" || query.state.error !== null });
      void cache.invalidateQueries({ predicate: (query) => query.queryKey[0] !== VAULT[0] });
    },
  });
}
