/** All of it as a file, and a file back into it. */
import { Button, Checkbox } from "@mantine/core";
import { useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import { useQueryClient } from "@tanstack/react-query";
import { exportArchive, importArchive } from "../../api/queries/data";
import type { ImportResult } from "../../api/client";
import { announce } from "../../app/announce";
import { bytes } from "../../format";
import { Progress } from "../../parts/Progress";
import { Trouble } from "../../parts/Trouble";
import { Block } from "./Block";
import { ImportReport } from "./ImportReport";

export function Archive() {
  return (
    <>
      <Export />
      <Import />
    </>
  );
}

/** One at a time, with a way to stop it; what it says when it breaks. */
function useWork() {
  const [busy, setBusy] = useState(false);
  const [trouble, setTrouble] = useState<string | null>(null);
  const abort = useRef<AbortController | null>(null);
  async function run(work: (signal: AbortSignal) => Promise<void>) {
    abort.current = new AbortController();
    setBusy(true);
    setTrouble(null);
    try {
      await work(abort.current.signal);
    } catch (error) {
      if (!abort.current.signal.aborted) setTrouble((error as Error).message);
    }
    setBusy(false);
  }
  return { busy, trouble, run, stop: () => abort.current?.abort() };
}

function save(blob: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}

function Export() {
  const { t } = useTranslation("settings");
  const work = useWork();
  const [audio, setAudio] = useState(true);
  const [came, setCame] = useState<{ bytes: number; all: number | null }>({ bytes: 0, all: null });
  const start = () =>
    work.run(async (signal) => {
      setCame({ bytes: 0, all: null });
      const archive = await exportArchive(audio, (bytes, all) => setCame({ bytes, all }), signal);
      save(archive, `nemo-${new Date().toISOString().slice(0, 10)}.zip`);
      announce(t("export.done"));
    });
  return (
    <Block title={t("export.title")} text={t("export.text")}>
      <Checkbox label={t("export.audio")} checked={audio} disabled={work.busy} onChange={(event) => setAudio(event.currentTarget.checked)} />
      <Trouble why={work.trouble} />
      {work.busy && came.all && <Progress label={t("export.progress")} percent={(100 * came.bytes) / came.all} />}
      {work.busy && !came.all && <p className="small" role="status">{t("export.came", { size: bytes(came.bytes) })}<progress aria-label={t("export.progress")} /></p>}
      <div className="facts">
        <Button loading={work.busy} onClick={() => void start()}>{t("export.act")}</Button>
        {work.busy && <Button variant="default" onClick={work.stop}>{t("cancel")}</Button>}
      </div>
    </Block>
  );
}

function Import() {
  const { t } = useTranslation("settings");
  const cache = useQueryClient();
  const work = useWork();
  const field = useRef<HTMLInputElement>(null);
  const [share, setShare] = useState(0);
  const [result, setResult] = useState<ImportResult | null>(null);
  const take = (file: File | undefined) =>
    file && void work.run(async (signal) => {
      setShare(0);
      setResult(null);
      setResult(await importArchive(file, setShare, signal));
      announce(t("import.done"));
      void cache.invalidateQueries();
    });
  return (
    <Block title={t("import.title")} text={t("import.text")}>
      <input
        ref={field} type="file" accept=".zip,application/zip" className="hidden" tabIndex={-1} aria-label={t("import.act")}
        onChange={(event) => { take(event.target.files?.[0]); event.target.value = ""; }}
      />
      <Trouble what={t("import.failed")} why={work.trouble}>
        <Button variant="default" size="compact-md" onClick={() => field.current?.click()}>{t("import.other")}</Button>
      </Trouble>
      {work.busy && (share < 1 ? <Progress label={t("import.progress")} percent={share * 100} stage="upload" /> : <p className="small" role="status">{t("import.checking")}<progress aria-label={t("import.progress")} /></p>)}
      {result && <ImportReport result={result} />}
      <div className="facts">
        <Button variant="default" loading={work.busy} onClick={() => field.current?.click()}>{t("import.act")}</Button>
        {work.busy && share < 1 && <Button variant="default" onClick={work.stop}>{t("cancel")}</Button>}
      </div>
    </Block>
  );
}
