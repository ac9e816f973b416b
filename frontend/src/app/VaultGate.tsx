/** In place of what cannot be read while the vault is locked: the way to unlock it. What stood there waits behind, unless it was locked here. */
import { useLocation } from "@tanstack/react-router";
import { lazy, type ReactNode } from "react";
import { useVault } from "../api/queries/vault";
import { useLocked, useTimesLocked } from "../api/vault-lock";
import { screens } from "./screens";

const Unlock = lazy(() => import("../screens/unlock"));

export function VaultGate({ children }: { children: ReactNode }) {
  useVault();
  const locked = useLocked();
  const times = useTimesLocked();
  const { pathname } = useLocation();
  const open = screens.some((screen) => screen.openWhileLocked && screen.path === pathname);
  const gate = locked && !open;
  return (
    <>
      {gate && <Unlock />}
      <div key={times} className="gated" hidden={gate}>{children}</div>
    </>
  );
}
