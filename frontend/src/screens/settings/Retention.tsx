import { Button, NumberInput } from "@mantine/core";
import { useState, type FormEvent } from "react";
import { useTranslation } from "react-i18next";
import { useRetention, useSetRetention } from "../../api/queries/data";
import type { RetentionRules } from "../../api/client";
import { announce } from "../../app/announce";
import { day, number } from "../../format";
import { Skeletons } from "../../parts/Skeletons";
import { Trouble } from "../../parts/Trouble";
import { undoable } from "../../parts/UndoToast";
import { Block } from "./Block";

const KINDS = ["audio_days", "transcripts_days", "conversations_days", "documents_days"] as const;

/** After how many days what goes by itself; nothing does where a field is empty. */
export function Retention() {
  const { t } = useTranslation("settings");
  const { data, error, refetch } = useRetention();
  return (
    <Block title={t("retention.title")} text={t("retention.text")}>
      <Trouble why={error?.message}><Button variant="default" size="compact-md" onClick={() => void refetch()}>{t("again")}</Button></Trouble>
      {!data && !error && <Skeletons lines={2} />}
      {data && <Rules key={JSON.stringify(data.rules)} rules={data.rules} />}
      {data?.last_run && (
        <p className="quiet small">
          {t("retention.last", { when: day(data.last_run.at), count: sum(data.last_run.removed), number: number(sum(data.last_run.removed)) })}{" "}
          {t(data.last_run.verified ? "retention.verified" : "retention.unverified")}
        </p>
      )}
    </Block>
  );
}

const sum = (counts: Record<string, number> | undefined) => Object.values(counts ?? {}).reduce((all, each) => all + each, 0);

function Rules({ rules }: { rules: RetentionRules }) {
  const { t } = useTranslation("settings");
  const [wanted, setWanted] = useState(rules);
  const set = useSetRetention();
  function submit(event: FormEvent) {
    event.preventDefault();
    void undoable({
      message: t("retention.saved"),
      action: () => set.mutateAsync(wanted).then(() => announce(t("retention.saved"))),
      undo: () => set.mutateAsync(rules),
    });
  }
  return (
    <form className="form" onSubmit={submit}>
      <div className="pairs">
        {KINDS.map((kind) => (
          <NumberInput
            key={kind} label={t(`retention.${kind}`)} placeholder={t("retention.keep")} min={1} max={36500} allowDecimal={false} allowNegative={false}
            suffix={t("retention.suffix")} value={wanted[kind] ?? ""} onChange={(value) => setWanted({ ...wanted, [kind]: value === "" ? null : Number(value) })} hideControls
          />
        ))}
      </div>
      <Button type="submit" loading={set.isPending} disabled={KINDS.every((kind) => (wanted[kind] ?? null) === (rules[kind] ?? null))}>{t("retention.save")}</Button>
    </form>
  );
}
