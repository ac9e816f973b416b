/** The screen stays on while somebody is listened to; where the browser cannot, it may go dark and listening goes on. */
import { useEffect } from "react";

export function useWakeLock(active: boolean): void {
  useEffect(() => {
    if (!active || !("wakeLock" in navigator)) return;
    let lock: WakeLockSentinel | null = null;
    let over = false;
    const take = async () => {
      if (document.visibilityState !== "visible") return;
      lock = await navigator.wakeLock.request("screen").catch(() => null); // a low battery says no
      if (over) void lock?.release();
    };
    void take();
    document.addEventListener("visibilitychange", take); // a hidden page loses it
    return () => {
      over = true;
      document.removeEventListener("visibilitychange", take);
      void lock?.release();
    };
  }, [active]);
}
