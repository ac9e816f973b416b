/** The bundled conversation: uploaded like any recording, then asked about. */
import { Button } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { RECORDINGS, useRecording, useRecordings } from "../../api/queries/recordings";
import { queue, useSendings } from "../../api/uploads/queue";
import { useLiveJob } from "../../api/queries/jobs";
import { Progress } from "../../parts/Progress";
import { Trouble } from "../../parts/Trouble";

const FILE = "/demo.ogg";

export function Demo() {
  const { t } = useTranslation("welcome");
  const [trouble, setTrouble] = useState<string | null>(null);
  const name = t("demo.name");
  const { data } = useRecordings();
  const found = data?.pages.flatMap((page) => page.data).find((each) => each.title === name);
  const sending = useSendings().find((each) => each.name === `${name}.ogg`);

  async function send() {
    setTrouble(null);
    try {
      const answer = await fetch(FILE);
      if (!answer.ok) throw new Error(t("demo.missing"));
      await queue.add([new File([await answer.blob()], `${name}.ogg`, { type: "audio/ogg" })]);
    } catch (error) {
      setTrouble((error as Error).message);
    }
  }
  return (
    <section className="card">
      <div className="welcome-step">
        <div className="grow"><h2>{t("demo.title")}</h2><p className="quiet">{t("demo.text")}</p></div>
        {!found && <Button variant="default" loading={sending !== undefined && sending.state !== "failed"} onClick={() => void send()}>{t("demo.act")}</Button>}
      </div>
      <Trouble why={trouble ?? sending?.why} />
      {found && <Made id={found.transcript_id} jobId={found.job_id} />}
    </section>
  );
}

function Made({ id, jobId }: { id: string; jobId?: string | null | undefined }) {
  const { t } = useTranslation("welcome");
  const { data } = useRecording(id);
  const working = data?.status === "queued" || data?.status === "processing";
  if (!data || (working && !jobId)) return null;
  if (working && jobId) return <Working jobId={jobId} />;
  if (data.status !== "completed") return <Trouble why={data.error ?? t("demo.failed")} />;
  return (
    <p className="welcome-ways" role="status">
      <Link to="/recording/$id" params={{ id }}>{t("demo.read")}</Link>
      <Link to="/chat" search={{ q: t("demo.question") } as never}>{t("demo.ask", { question: t("demo.question") })}</Link>
    </p>
  );
}

function Working({ jobId }: { jobId: string }) {
  const { t } = useTranslation("welcome");
  const cache = useQueryClient();
  const progress = useLiveJob(jobId, () => void cache.invalidateQueries({ queryKey: RECORDINGS }))?.progress;
  return <Progress stage={progress?.stage ?? "queued"} percent={progress?.percent ?? 0} etaS={progress?.eta_s} label={t("demo.title")} />;
}
