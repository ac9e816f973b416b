/** Listen live: words while they are spoken, a recording when it ends. `?start=1` begins at once. */
import { Button } from "@mantine/core";
import { IconMicrophone } from "@tabler/icons-react";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { useEffect } from "react";
import { useTranslation } from "react-i18next";
import { useQueryClient } from "@tanstack/react-query";
import { RECORDINGS } from "../../api/queries/recordings";
import { announce } from "../../app/announce";
import { useShortcut } from "../../app/shortcuts";
import { clock } from "../../format";
import { EmptyState } from "../../parts/EmptyState";
import { NoMicrophone } from "../../parts/microphone/NoMicrophone";
import { PageHeader } from "../../parts/PageHeader";
import { Trouble } from "../../parts/Trouble";
import { Controls } from "./Controls";
import { Said } from "./Said";
import { cutOff, useLive, type Live } from "./session";
import { useWakeLock } from "./wakeLock";
import "./live.css";

const BEFORE = new Set(["idle", "asking"]);
const RUNNING = new Set(["connecting", "open", "broken", "locked"]);

export default function LiveScreen() {
  const { t } = useTranslation("live");
  const live = useLive();
  const running = RUNNING.has(live.state);
  useWakeLock(running);
  useStartAtOnce(live);
  useEnd(live);
  useStay(live.state === "broken" || live.state === "locked");
  useShortcut("p", t("pause-key"), () => (live.state === "paused" ? live.goOn() : running && live.pause()));
  const again = () => (live.state === "paused" ? live.goOn() : live.start(null));
  return (
    <div className="live">
      <PageHeader title={t("title")} text={live.device && <bdi>{live.device}</bdi>} />
      <NoMicrophone kind={live.trouble} onAgain={again} />
      <LineTrouble live={live} />
      {BEFORE.has(live.state) && <Beginning live={live} />}
      {!BEFORE.has(live.state) && <Said words={live.words} listening={running} />}
      {live.words.warning && <p className="notice small" role="status">{live.words.warning}</p>}
      {(running || live.state === "paused" || live.state === "stopping") && <Controls live={live} />}
    </div>
  );
}

/** From the big button of another screen; a page opened by its address waits for a click, as browsers want it. */
function useStartAtOnce(live: Live) {
  const { start } = useSearch({ strict: false }) as { start?: string };
  const navigate = useNavigate();
  useEffect(() => {
    if (!start) return;
    void navigate({ to: "/live", replace: true }); // a reload does not begin another
    if (navigator.userActivation?.hasBeenActive !== false && !cutOff()) live.start(null);
  }, []); // eslint-disable-line
}

/** Sound that waits here for the line would go with the tab. */
function useStay(waiting: boolean) {
  useEffect(() => {
    if (!waiting) return;
    const ask = (event: BeforeUnloadEvent) => event.preventDefault();
    addEventListener("beforeunload", ask);
    return () => removeEventListener("beforeunload", ask);
  }, [waiting]);
}

function useEnd({ state, transcriptId: id }: Live) {
  const { t } = useTranslation("live");
  const navigate = useNavigate();
  const cache = useQueryClient();
  useEffect(() => {
    if (state !== "ended" || !id) return;
    announce(t("stored"));
    void cache.invalidateQueries({ queryKey: RECORDINGS });
    void navigate({ to: "/recording/$id", params: { id }, replace: true } as never);
  }, [state, id, navigate, cache, t]);
}

function Beginning({ live }: { live: Live }) {
  const { t } = useTranslation("live");
  const session = cutOff();
  const busy = live.state === "asking";
  return (
    <EmptyState icon={IconMicrophone} title={t(session ? "cut.title" : "begin.title")} text={t(session ? "cut.text" : "begin.text")}>
      {session && <Button size="lg" onClick={() => live.start(session)} loading={busy}>{t("cut.act")}</Button>}
      <Button size="lg" variant={session ? "default" : "filled"} leftSection={<IconMicrophone size={20} />} onClick={() => live.start(null)} loading={busy && !session}>
        {t("begin.act")}
      </Button>
    </EmptyState>
  );
}

/** A broken line mends itself; one that is lost leaves a recording of what came. */
function LineTrouble({ live }: { live: Live }) {
  const { t } = useTranslation("live");
  const { state, why, waitingMs, transcriptId, start } = live;
  const navigate = useNavigate();
  const mending = state === "broken" || state === "locked";
  if (mending) return <Trouble what={t(`${state}.what`)} why={t(`${state}.why`, { length: clock(waitingMs() / 1000) })} />;
  return (
    <Trouble what={t("lost.what")} why={state === "lost" ? (why ?? t("lost.why")) : null}>
      <Button size="compact-md" variant="default" onClick={() => start(null)}>{t("lost.again")}</Button>
      {transcriptId && (
        <Button size="compact-md" variant="default" onClick={() => void navigate({ to: "/recording/$id", params: { id: transcriptId } } as never)}>{t("lost.open")}</Button>
      )}
    </Trouble>
  );
}
