/** The newest words stay in sight, until the reader scrolls up. */
import { useEffect, useLayoutEffect, useRef, useState } from "react";

const NEAR_PX = 180;
const atEnd = () => document.documentElement.scrollHeight - innerHeight - scrollY < NEAR_PX;
const toEnd = () => scrollTo({ top: document.documentElement.scrollHeight });

/** `changed` is whatever grows. */
export function useFollow(changed: unknown): { following: boolean; follow: () => void } {
  const [following, setFollowing] = useState(true);
  const now = useRef(true);
  useEffect(() => {
    const moved = () => setFollowing((now.current = atEnd()));
    addEventListener("scroll", moved, { passive: true });
    return () => removeEventListener("scroll", moved);
  }, []);
  useLayoutEffect(() => {
    if (now.current) toEnd();
  }, [changed]);
  return { following, follow: () => { setFollowing((now.current = true)); toEnd(); } };
}
