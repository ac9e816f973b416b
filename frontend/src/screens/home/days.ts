/** The timeline by days of the reader's clock. */
import i18next from "i18next";

/** A day as "2026-11-21", in the reader's time zone. */
export function dateOf(moment: string | number): string {
  const date = new Date(moment);
  return [date.getFullYear(), date.getMonth() + 1, date.getDate()].map((part) => String(part).padStart(2, "0")).join("-");
}

export interface Day<T> {
  date: string;
  items: T[];
}

/** Neighbours of one day together; the order stays. */
export function byDay<T extends { created_at: string }>(items: readonly T[]): Day<T>[] {
  const days: Day<T>[] = [];
  for (const item of items) {
    const date = dateOf(item.created_at);
    const last = days.at(-1);
    if (last?.date === date) last.items.push(item);
    else days.push({ date, items: [item] });
  }
  return days;
}

/** Today, yesterday, else "Friday, 20 November"; with the year where it is another. */
export function nameOf(date: string, now = Date.now()): string {
  const yesterday = new Date(now);
  yesterday.setDate(yesterday.getDate() - 1);
  if (date === dateOf(now)) return i18next.t("home:today");
  if (date === dateOf(yesterday.getTime())) return i18next.t("home:yesterday");
  const [year, month, day] = date.split("-").map(Number) as [number, number, number];
  const far = year !== new Date(now).getFullYear();
  return new Date(year, month - 1, day).toLocaleDateString(i18next.resolvedLanguage, {
    weekday: "long", day: "numeric", month: "long", ...(far ? { year: "numeric" } : {}),
  });
}
