/** Files on their way: how far, what is wrong, and what to click. */
import { Button } from "@mantine/core";
import { useEffect, useState } from "react";
import { useTranslation } from "react-i18next";
import { mostBytes } from "../../api/uploads/check";
import { queue, useSendings, type Sending } from "../../api/uploads/queue";
import { bytes } from "../../format";
import { Trouble } from "../../parts/Trouble";
import { undoableLater } from "../../parts/UndoToast";

export function Sendings() {
  const { t } = useTranslation("uploads");
  const sendings = useSendings();
  if (sendings.length === 0) return null;
  return (
    <ul className="list" aria-label={t("list")}>
      {sendings.map((sending) => <li key={sending.key} className={stuck(sending) ? undefined : "card"}><One sending={sending} /></li>)}
    </ul>
  );
}

const stuck = ({ state }: Sending) => state === "failed" || state === "missing";

function One({ sending }: { sending: Sending }) {
  if (sending.state === "failed") return <Failed sending={sending} />;
  return sending.state === "missing" ? <Missing sending={sending} /> : <Moving sending={sending} />;
}

function Moving({ sending }: { sending: Sending }) {
  const { t } = useTranslation("uploads");
  const { name, size, offset, state, unkept } = sending;
  const word = unkept && state === "sending" ? "unkept" : state;
  return (
    <div className="row">
      <div className="grow">
        <strong dir="auto">{name}</strong>
        <p className="progress-words small">
          <span className="quiet">{t(`state.${word}`)}</span>
          <span className="quiet">{t("of", { sent: bytes(offset), all: bytes(size) })}</span>
        </p>
        <progress max={size} value={offset} aria-label={t("progress", { name })} />
      </div>
      <Cancel sending={sending} label={t("cancel")} />
    </div>
  );
}

/** Gone at once, given up on the server once nobody took it back. */
function Cancel({ sending, label }: { sending: Sending; label: string }) {
  const { t } = useTranslation("uploads");
  const { key, name } = sending;
  const cancel = () =>
    undoableLater({
      message: t("cancelled", { name }), hide: () => queue.hide(key), commit: () => queue.discard(key), restore: () => queue.restore(sending),
    });
  return <Button variant="default" size="compact-md" onClick={cancel}>{label}</Button>;
}

function Failed({ sending }: { sending: Sending }) {
  const { t } = useTranslation("uploads");
  const [most, setMost] = useState<number | null>(null);
  const { key, name, size, wrong, why } = sending;
  useEffect(() => void mostBytes().then(setMost), []);
  const text = wrong ? t(`wrong.${wrong}`, { size: bytes(size), most: bytes(most ?? 0) }) : why;
  return (
    <Trouble what={t("failed", { name })} why={text}>
      {!wrong && <Button variant="default" size="compact-md" onClick={() => queue.retry(key)}>{t("again")}</Button>}
      {wrong ? <Button variant="default" size="compact-md" onClick={() => queue.hide(key)}>{t("drop")}</Button> : <Cancel sending={sending} label={t("drop")} />}
    </Trouble>
  );
}

function Missing({ sending }: { sending: Sending }) {
  const { t } = useTranslation("uploads");
  return (
    <Trouble what={t("failed", { name: sending.name })} why={t("missing")}>
      <Button variant="default" size="compact-md" onClick={() => document.getElementById("capture-file")?.click()}>{t("choose")}</Button>
      <Cancel sending={sending} label={t("drop")} />
    </Trouble>
  );
}
