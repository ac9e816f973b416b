/** The transcript: only the turns in view are in the page, however long the recording is. */
import { Button } from "@mantine/core";
import { useCallback, useEffect, useMemo, useState } from "react";
import { useTranslation } from "react-i18next";
import type { Transcript as Whole } from "../../api/client";
import { usePlayer } from "../../parts/MomentPlayer";
import { Fixer } from "./Fixer";
import { useFollow, useHeard } from "./hearing";
import { SelectionBar } from "./SelectionBar";
import { Tools } from "./Tools";
import { Turn } from "./Turn";
import { useCaret } from "./useCaret";
import { useRows } from "./useRows";
import { indexWords, nextUnsure, pieces, placeOf } from "./words";

interface Props {
  transcript: Whole;
  names: Record<string, string>;
  /** False while it is still being made: it is read and heard, not changed. */
  editable: boolean;
}

export function Transcript({ transcript, names, editable }: Props) {
  const { t } = useTranslation("recording");
  const { transcript_id: id, title, segments = [] } = transcript;
  const { play } = usePlayer();
  const index = useMemo(() => indexWords(segments), [segments]);
  const heard = useHeard(id, index);
  const { follow, resume, yieldTo } = useFollow();
  const { root, rows, bring } = useRows(segments.length, (row) => segments[row]!.segment_id);
  const [cursor, setCursor] = useState(0);
  const [fixing, setFixing] = useState<number | null>(null);
  const [tools, setTools] = useState<string | null>(null);
  const at = Math.min(cursor, Math.max(0, index.count - 1));

  const hear = useCallback((second: number) => {
    resume();
    void play(id, second, null, title);
  }, [id, play, resume, title]);
  const toggleTools = useCallback((segmentId: string) => setTools((was) => (was === segmentId ? null : segmentId)), []);
  const show = useCallback((word: number) => bring(placeOf(index, word)), [bring, index]);
  const check = (word: number | undefined) => {
    if (!editable) return;
    yieldTo();
    setFixing(word ?? null);
    if (word !== undefined) show(word);
  };
  useEffect(() => {
    if (follow && heard >= 0 && fixing === null && tools === null) show(heard);
  }, [follow, heard, fixing, tools, show]);

  const caret = useCaret({ root, index, setCursor, show, play: (word) => hear(secondOf(word)), fix: check });
  const secondOf = (word: number) => {
    const { row, at: place } = placeOf(index, word);
    return pieces(segments[row]!)[place]?.startS ?? 0;
  };
  const within = (word: number | null, row: number) =>
    word !== null && word >= index.first[row]! && word < index.first[row + 1]! ? word - index.first[row]! : -1;

  return (
    <div className="words">
      {editable && index.unsure.length > 0 && (
        <p className="facts small">
          <button className="textual" onClick={() => check(nextUnsure(index, -1, 1))}>{t("check", { count: index.unsure.length })}</button>
        </p>
      )}
      <p className="hidden" id="words-keys">{t("keys")}</p>
      <div
        ref={root} className="rows" role="group" aria-label={t("transcript")} aria-describedby="words-keys"
        style={{ height: rows.getTotalSize() }} {...caret}
      >
        {rows.getVirtualItems().map(({ index: row, start, key }) => {
          const segment = segments[row]!;
          const open = tools === segment.segment_id;
          return (
            <div key={key} data-index={row} ref={rows.measureElement} className="row-place" style={{ transform: `translateY(${start - rows.options.scrollMargin}px)` }}>
              <Turn
                segment={segment} row={row} name={names[segment.speaker]} begins={segments[row - 1]?.speaker !== segment.speaker}
                heard={within(heard, row)} cursor={within(at, row)} fixing={within(fixing, row)} open={open} onTools={editable ? toggleTools : undefined} onPlay={hear}
              />
              {open && <Tools transcript={transcript} row={row} cursor={within(at, row)} names={names} onDone={() => setTools(null)} />}
            </div>
          );
        })}
      </div>
      <div className="foot">
        {!follow && heard >= 0 && <Button radius="xl" onClick={resume}>{t("jump")}</Button>}
        {editable && fixing === null && <SelectionBar root={root} transcript={transcript} index={index} />}
        {fixing !== null && fixing < index.count && (
          <Fixer key={fixing} transcript={transcript} index={index} word={fixing} onMove={check} onHear={() => void play(id, Math.max(0, secondOf(fixing) - 1), secondOf(fixing) + 1.5, title)} />
        )}
      </div>
    </div>
  );
}
