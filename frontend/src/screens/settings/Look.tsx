import { useMantineColorScheme } from "@mantine/core";
import { useTranslation } from "react-i18next";
import { LANGUAGES, language, speak, type Language } from "../../i18n";
import { Block } from "./Block";

const THEMES = ["auto", "light", "dark"] as const;

/** Theme and language; both are kept in this browser. */
export function Look() {
  const { t } = useTranslation("settings");
  const { colorScheme, setColorScheme } = useMantineColorScheme({ keepTransitions: true });
  return (
    <Block title={t("look.title")} text={t("look.text")}>
      <fieldset className="choices">
        <legend>{t("look.theme")}</legend>
        {THEMES.map((theme) => (
          <label key={theme}><input type="radio" name="theme" checked={colorScheme === theme} onChange={() => setColorScheme(theme)} /> {t(`look.${theme}`)}</label>
        ))}
      </fieldset>
      <fieldset className="choices">
        <legend>{t("look.language")}</legend>
        {Object.entries(LANGUAGES).map(([tag, name]) => (
          <label key={tag} lang={tag}><input type="radio" name="language" checked={language() === tag} onChange={() => void speak(tag as Language)} /> {name}</label>
        ))}
      </fieldset>
    </Block>
  );
}
