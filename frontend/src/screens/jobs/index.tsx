/** What is being worked on, and on what hardware. */
import { useTranslation } from "react-i18next";
import { PageHeader } from "../../parts/PageHeader";
import { Hardware } from "./Hardware";
import { JobList } from "./JobList";
import "./jobs.css";

const ENDED = 30;

export default function Jobs() {
  const { t } = useTranslation("jobs");
  return (
    <div className="wide">
      <PageHeader title={t("title")} text={t("text")} />
      <div className="jobs-page">
        <section aria-label={t("title")}><JobList ended={ENDED} /></section>
        <Hardware />
      </div>
    </div>
  );
}
