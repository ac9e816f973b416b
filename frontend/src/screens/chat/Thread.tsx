/** Questions and answers, the newest at the foot; it follows while one is written, until the reader scrolls up. */
import { Button } from "@mantine/core";
import { IconArrowDown } from "@tabler/icons-react";
import { useEffect, useRef, useState, type RefObject } from "react";
import { useTranslation } from "react-i18next";
import { AnswerCard } from "./Answer";
import type { Turn } from "./answer";

const NEAR_PX = 160;
const below = () => document.documentElement.scrollHeight - innerHeight - scrollY;
/** Gives nothing back: in newer browsers `scrollTo` has a promise, which an effect must not return. */
function toFoot(): void {
  void scrollTo({ top: document.documentElement.scrollHeight });
}

/** The page goes on with the answer while the reader is at the foot; whether they are elsewhere. */
function useFollow(thread: RefObject<HTMLDivElement | null>, count: number): boolean {
  const at = useRef(true);
  const [away, setAway] = useState(false);
  useEffect(() => {
    const moved = () => {
      at.current = below() < NEAR_PX;
      setAway(!at.current);
    };
    const grown = new ResizeObserver(() => { if (at.current) toFoot(); });
    if (thread.current) grown.observe(thread.current);
    addEventListener("scroll", moved, { passive: true });
    return () => {
      grown.disconnect();
      removeEventListener("scroll", moved);
    };
  }, [thread]);
  useEffect(toFoot, [count]); // a new question is always looked at
  return away && count > 0;
}

export function Thread({ turns, onAgain }: { turns: Turn[]; onAgain: (question: string) => void }) {
  const { t } = useTranslation("chat");
  const thread = useRef<HTMLDivElement>(null);
  const away = useFollow(thread, turns.length);
  return (
    <div className="chat-thread" ref={thread}>
      {turns.map((turn) => (
        <article key={turn.key} className="chat-turn" aria-label={turn.question ?? t("title")}>
          {turn.question !== null && <p className="chat-question" dir="auto">{turn.question}</p>}
          <AnswerCard question={turn.question} answer={turn.answer} onAgain={onAgain} />
        </article>
      ))}
      {away && (
        <Button className="chat-newest" radius="xl" size="compact-md" leftSection={<IconArrowDown size={16} />} onClick={toFoot}>{t("newest")}</Button>
      )}
    </div>
  );
}
