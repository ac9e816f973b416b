/** What belongs to one's account; `?section=` is the part that is open. */
import { useTranslation } from "react-i18next";
import { useLocked } from "../../api/vault-lock";
import { PageHeader } from "../../parts/PageHeader";
import { Sections, useSection } from "../../parts/Sections";
import { About } from "./About";
import { Archive } from "./Archive";
import { Danger, Leave } from "./Danger";
import { Devices } from "./Devices";
import { Look } from "./Look";
import { Password } from "./Password";
import { Retention } from "./Retention";
import { Tokens } from "./Tokens";
import { Vault } from "./Vault";
import "./settings.css";

const NAMES = ["look", "account", "vault", "tokens", "data"] as const;

export default function Settings() {
  const { t } = useTranslation("settings");
  const section = useSection(NAMES);
  const locked = useLocked();
  return (
    <>
      <PageHeader title={t("title")} />
      <Sections label={t("sections")} path="/settings" names={NAMES} active={section} titleOf={(name) => t(`section.${name}`)} />
      {section === "look" && <><Look /><About /></>}
      {section === "account" && <><Password /><Devices /></>}
      {section === "vault" && <Vault />}
      {section === "tokens" && <Tokens />}
      {section === "data" && (locked ? <><Vault /><Leave /></> : <><Archive /><Retention /><Danger /><Leave /></>)}
    </>
  );
}
