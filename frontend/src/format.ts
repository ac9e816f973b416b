/** Numbers, times and names as people read them, in the language they chose. */
import i18next from "i18next";

const locale = (): string | undefined => i18next.resolvedLanguage;

/** 3661 -> "1:01:01" */
export function clock(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor((whole % 3600) / 60);
  const rest = String(whole % 60).padStart(2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

export function day(moment: string): string {
  return new Date(moment).toLocaleString(locale(), { dateStyle: "medium", timeStyle: "short" });
}

/** "14:05" */
export function time(moment: string): string {
  return new Date(moment).toLocaleTimeString(locale(), { timeStyle: "short" });
}

export function number(value: number, options?: Intl.NumberFormatOptions): string {
  return value.toLocaleString(locale(), options);
}

/** 0.42 -> "42 %", as the language writes it. */
export function percent(share: number): string {
  return number(share, { style: "percent", maximumFractionDigits: 0 });
}

/** 1536000 -> "1.5 MB" */
export function bytes(count: number): string {
  const steps = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];
  const step = Math.min(steps.length - 1, Math.max(0, Math.floor(Math.log10(count || 1) / 3)));
  return number(count / 1000 ** step, { style: "unit", unit: steps[step] as string, unitDisplay: "short", maximumFractionDigits: step > 1 ? 1 : 0 });
}

/** What is left, rounded; nothing where it is unknown. */
export function left(seconds: number | null | undefined): string {
  if (seconds == null) return "";
  if (seconds < 60) return i18next.t("parts:left.seconds", { count: Math.max(1, Math.round(seconds)) });
  return i18next.t("parts:left.minutes", { count: Math.round(seconds / 60) });
}

/** A stage of the work in words; one that we do not know by its own name. */
export function stage(name: string): string {
  return i18next.t(`parts:stage.${name}`, { defaultValue: name });
}

/** Nobody has told us the name of SPEAKER_00: the first speaker. */
export function speakerName(label: string): string {
  const unknown = /^SPEAKER_(\d+)$/.exec(label);
  return unknown ? i18next.t("parts:speaker", { number: Number(unknown[1]) + 1 }) : label;
}

/** Which of the eight speaker colours: by the number of the label, else by the letters of the name. */
export function speakerHue(label: string): number {
  const digits = /(\d+)$/.exec(label)?.[1];
  const sum = digits ? Number(digits) : [...label].reduce((all, letter) => all + (letter.codePointAt(0) ?? 0), 0);
  return sum % 8;
}
