/** What works now, from everywhere: a number on top, a drawer behind it. */
import { ActionIcon } from "@mantine/core";
import { IconStack2 } from "@tabler/icons-react";
import { lazy, Suspense, useState } from "react";
import { useTranslation } from "react-i18next";
import { useJobs } from "../api/queries/jobs";
import { unfinished } from "../api/stream";
import { useShortcut } from "./shortcuts";

const Drawer = lazy(() => import("../screens/jobs/JobsDrawer"));

export function JobsButton() {
  const { t } = useTranslation();
  const [open, setOpen] = useState(false);
  const working = useJobs().data?.data.filter(unfinished).length ?? 0;
  useShortcut("alt+j", t("jobs.open"), () => setOpen(true));
  return (
    <>
      <ActionIcon
        variant="subtle" color="gray" size="lg" className="jobs-button" onClick={() => setOpen(true)}
        aria-label={t("jobs.button", { count: working })} aria-haspopup="dialog"
      >
        <IconStack2 size={20} stroke={1.6} />
        {working > 0 && <span className="count" aria-hidden="true">{working}</span>}
      </ActionIcon>
      <Suspense>{open && <Drawer onClose={() => setOpen(false)} />}</Suspense>
    </>
  );
}
