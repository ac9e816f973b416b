import { Drawer } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { Suspense } from "react";
import { useTranslation } from "react-i18next";
import { Skeletons } from "../../parts/Skeletons";
import { JobList } from "./JobList";

const ENDED = 5;

/** Over any screen, which stays as it is behind it. */
export default function JobsDrawer({ onClose }: { onClose: () => void }) {
  const { t } = useTranslation();
  return (
    <Drawer opened onClose={onClose} position="right" size="26rem" title={t("nav.jobs")} closeButtonProps={{ "aria-label": t("close") }} className="jobs-drawer">
      <Suspense fallback={<Skeletons lines={2} />}><JobList ended={ENDED} onLeave={onClose} /></Suspense>
      <p className="small"><Link to="/jobs" onClick={onClose}>{t("jobs.all")}</Link></p>
    </Drawer>
  );
}
