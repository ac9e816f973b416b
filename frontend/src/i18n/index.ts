/** The words of the page: one JSON per screen and language, fetched when the screen opens. */
import i18next, { type BackendModule } from "i18next";
import { initReactI18next } from "react-i18next";

export const LANGUAGES = { en: "English", de: "Deutsch" } as const;
export type Language = keyof typeof LANGUAGES;

const files = import.meta.glob<{ default: Record<string, unknown> }>("./*/*.json");
const KEPT = "nemo-language";

const fromFiles: BackendModule = {
  type: "backend",
  init: () => undefined,
  read: (language, namespace, done) => {
    const load = files[`./${language}/${namespace}.json`];
    if (!load) return done(new Error(`no words for ${language}/${namespace}`), null);
    load().then((words) => done(null, words.default)).catch((error: Error) => done(error, null));
  },
};

function chosen(): Language {
  const wanted = [localStorage.getItem(KEPT), ...navigator.languages].map((tag) => tag?.slice(0, 2));
  return (wanted.find((tag) => tag && tag in LANGUAGES) as Language | undefined) ?? "en";
}

export function language(): Language {
  return (i18next.resolvedLanguage as Language | undefined) ?? "en";
}

export async function speak(next: Language): Promise<void> {
  localStorage.setItem(KEPT, next);
  await i18next.changeLanguage(next);
}

export async function startWords(): Promise<void> {
  i18next.on("languageChanged", (tag) => (document.documentElement.lang = tag));
  await i18next.use(fromFiles).use(initReactI18next).init({
    lng: chosen(),
    fallbackLng: "en",
    supportedLngs: Object.keys(LANGUAGES),
    ns: ["shell", "parts"],
    defaultNS: "shell",
    interpolation: { escapeValue: false }, // React escapes
  });
}
