/** For administrators: accounts, what was done to them, and how the platform is. */
import { useTranslation } from "react-i18next";
import { PageHeader } from "../../parts/PageHeader";
import { Sections, useSection } from "../../parts/Sections";
import { useUser } from "../../app/session";
import { Trouble } from "../../parts/Trouble";
import { AuditLog } from "./AuditLog";
import { Platform } from "./Platform";
import { Users } from "./Users";
import "./admin.css";

const NAMES = ["users", "audit", "platform"] as const;

export default function Admin() {
  const { t } = useTranslation("admin");
  const section = useSection(NAMES);
  if (useUser().role !== "admin") return <><PageHeader title={t("title")} /><Trouble why={t("not-yours")} /></>;
  return (
    <div className="wide">
      <PageHeader title={t("title")} />
      <Sections label={t("sections")} path="/admin" names={NAMES} active={section} titleOf={(name) => t(`section.${name}`)} />
      {section === "users" && <Users />}
      {section === "audit" && <AuditLog />}
      {section === "platform" && <Platform />}
    </div>
  );
}
