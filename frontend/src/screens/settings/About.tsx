import { Kbd } from "@mantine/core";
import { useTranslation } from "react-i18next";
import { useServerCard } from "../../api/queries/admin";
import { Trouble } from "../../parts/Trouble";
import { Block } from "./Block";

export function About() {
  const { t } = useTranslation("settings");
  const { data: card, error } = useServerCard();
  return (
    <Block title={t("about.title")} text={t("about.text")}>
      <Trouble why={error?.message} />
      <dl className="figures">
        <div><dt>{t("about.server")}</dt><dd dir="auto">{card?.name ?? "…"}</dd></div>
        <div><dt>{t("about.version")}</dt><dd>{card?.version ?? "…"}</dd></div>
        <div><dt>{t("about.licence")}</dt><dd>{t("about.mit")}</dd></div>
        <div><dt>{t("about.keys")}</dt><dd><Kbd>{"?"}</Kbd></dd></div>
      </dl>
    </Block>
  );
}
