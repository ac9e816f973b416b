/** A passage that somebody selected, and what becomes of it. */
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import type { Transcript } from "../../api/client";
import { forget, noteTags, remember as keep, useRememberedAgain, type Memory } from "../../api/queries/remembered";
import { saveAs } from "../../api/upload";
import { clock, speakerName } from "../../format";
import { usePlayer } from "../../parts/MomentPlayer";
import { fail, undoable } from "../../parts/UndoToast";
import type { Selected } from "./caret";
import { cut, LONGEST_S } from "./clip";
import { copy } from "./copy";
import { pieces, placeOf, type WordIndex } from "./words";

export interface Passage {
  /** Each speaker's words on a line of their own, the name before them where there are several. */
  text: string;
  startS: number;
  endS: number;
}

export function passageOf(transcript: Transcript, index: WordIndex, { from, to }: Selected): Passage {
  const names = Object.fromEntries((transcript.speakers ?? []).map((who) => [who.label, who.name ?? speakerName(who.label)]));
  const [first, last] = [placeOf(index, from), placeOf(index, to)];
  const turns = transcript.segments!.slice(first.row, last.row + 1).map((segment, n) => {
    const all = pieces(segment);
    const words = all.slice(n === 0 ? first.at : 0, first.row + n === last.row ? last.at + 1 : all.length);
    return { speaker: segment.speaker, words };
  });
  const heard = turns.flatMap((turn) => turn.words);
  const several = new Set(turns.map((turn) => turn.speaker)).size > 1;
  const lines = turns.filter((turn) => turn.words.length).map(({ speaker, words }) => {
    const said = words.map((piece) => piece.word + piece.gap).join("").trim();
    return several ? `${names[speaker] ?? speakerName(speaker)}: ${said}` : said;
  });
  return { text: lines.join("\n"), startS: heard[0]?.startS ?? 0, endS: Math.max(...heard.map((piece) => piece.endS)) };
}

/** The address of a moment, for whoever may open this recording. */
export const linkTo = (id: string, second: number) => `${location.origin}/app/recording/${id}?t=${second.toFixed(1)}`;

export function usePassage(transcript: Transcript, index: WordIndex, selected: Selected) {
  const { t } = useTranslation("recording");
  const { play } = usePlayer();
  const again = useRememberedAgain(transcript.transcript_id);
  const cache = useQueryClient();
  const [busy, setBusy] = useState(false);
  const { transcript_id: id, title, created_at } = transcript;
  const { text, startS, endS } = passageOf(transcript, index, selected);
  const name = `${title} ${clock(startS).replaceAll(":", ".")}`.replace(/[\\/:*?"<>|\u0000-\u001f]/g, "_");

  async function saveSound() {
    setBusy(true);
    await cut(id, startS, endS).then((file) => saveAs(`${name}.wav`, file)).catch(fail);
    setBusy(false);
  }
  function remember() {
    let note: Memory | undefined;
    const done = () => (void again(), void cache.invalidateQueries({ queryKey: ["memories"] }));
    const body = {
      content: text, title: `${title.slice(0, 180)} · ${clock(startS)}`, tags: noteTags(id, startS),
      occurred_at: new Date(Date.parse(created_at) + startS * 1000).toISOString(),
    };
    void undoable({
      message: t("select.remembered"),
      action: async () => { note = await keep(body); done(); },
      undo: async () => { if (note) await forget(note.memory_id); done(); },
    });
  }
  return {
    busy,
    cuttable: (transcript.duration_s ?? 0) <= LONGEST_S,
    play: () => void play(id, startS, endS, title),
    saveSound: () => { if ((transcript.duration_s ?? 0) <= LONGEST_S) void saveSound(); },
    saveText: () => saveAs(`${name}.txt`, new Blob([`${text}\n`], { type: "text/plain;charset=utf-8" })),
    remember,
    copyLink: () => void copy(linkTo(id, startS)),
  };
}
