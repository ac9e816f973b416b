"""A transcript in the formats that other programs read."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from services.transcription.cues import Cue, cues_of, row_text
from shared.schemas.transcription import ExportFormat, Segment, Transcript
from shared.words import words_of

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A cell that begins so is a formula to a spreadsheet (OWASP, CSV injection)."""
WORD_JOINER = "\u2060"
"""Put into an arrow of the text: SubRip has no way to escape, and would take a line with one for the next time."""
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f]")
_BLOCK = re.compile(r"^(\d*)([-+=.)])")
"""What at the beginning of a line makes a list or a heading of it."""


def export(transcript: Transcript, form: ExportFormat, *, words: bool = False) -> tuple[str, str]:
    """The text and its media type. `words`: the time of every word, in vtt inside the cues, in csv a row each."""
    if form != "json":
        segments = [_plain_segment(each) for each in transcript.segments]
        transcript = transcript.model_copy(update={"segments": segments})
    if words and form in _BY_WORD:
        return _BY_WORD[form](transcript), FORMATS[form][1]
    make, media_type = FORMATS[form]
    return make(transcript), media_type


def name_of(transcript: Transcript, label: str) -> str:
    """The name in one line; the label where there is none."""
    for speaker in transcript.speakers:
        if speaker.label == label and speaker.name:
            return _one_line(speaker.name) or label
    return label


def clock(ms: int, mark: str = ".") -> str:
    """`00:01:02.345`"""
    return f"{ms // 3_600_000:02d}:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d}{mark}{ms % 1000:03d}"


def _ms(seconds: float) -> int:
    return max(0, round(seconds * 1000))


def _one_line(text: str) -> str:
    return " ".join(_plain(text).split())


def _plain(text: str) -> str:
    """Without control characters: a terminal or a player would obey them."""
    return _CONTROL.sub("", text)


def _plain_segment(segment: Segment) -> Segment:
    if not _CONTROL.search(segment.text):
        return segment
    words = [word.model_copy(update={"word": _plain(word.word)}) for word in segment.words]
    return segment.model_copy(update={"text": _plain(segment.text), "words": words})


def _spoken(transcript: Transcript) -> list[Segment]:
    return [segment for segment in transcript.segments if _one_line(segment.text)]


def _json(transcript: Transcript) -> str:
    return transcript.model_dump_json(indent=2) + "\n"


def _txt(transcript: Transcript) -> str:
    return "".join(f"{name_of(transcript, s.speaker)}: {_one_line(s.text)}\n" for s in _spoken(transcript))


def _md(transcript: Transcript) -> str:
    def escaped(text: str) -> str:
        line = "".join(f"\\{c}" if c in "\\`*_{}[]<>#|&~" else c for c in _one_line(text))
        return _BLOCK.sub(r"\1\\\2", line)

    lines = [f"# {escaped(transcript.title)}", ""]
    for s in _spoken(transcript):
        name, at = escaped(name_of(transcript, s.speaker)), clock(_ms(s.start_s))
        lines += [f"**{name}** ({at})  ", escaped(s.text), ""]
    return "\n".join(lines)


def _no_arrow(text: str) -> str:
    return text.replace("-->", f"--{WORD_JOINER}>")


def _srt(transcript: Transcript) -> str:
    def prefix(segment: Segment) -> str:
        return f"{name_of(transcript, segment.speaker)}: "

    blocks, before = [], None
    for n, cue in enumerate(cues_of(transcript, lambda segment: len(prefix(segment))), start=1):
        rows = [row_text(row) for row in cue.rows]
        if cue.segment is not before:
            rows[0] = (prefix(cue.segment) + rows[0]).rstrip()
        before = cue.segment
        text = _no_arrow("\n".join(rows))
        blocks.append(f"{n}\n{clock(cue.start_ms, ',')} --> {clock(cue.end_ms, ',')}\n{text}\n")
    return "\n".join(blocks)


def _vtt(transcript: Transcript, *, words: bool = False) -> str:
    blocks = ["WEBVTT\n"]
    for cue in cues_of(transcript):
        name = html.escape(name_of(transcript, cue.segment.speaker), quote=False)
        text = "\n".join(_timed(cue) if words else [_markup(row_text(row)) for row in cue.rows])
        blocks.append(f"{clock(cue.start_ms)} --> {clock(cue.end_ms)}\n<v {name}>{text}</v>\n")
    return "\n".join(blocks)


def _markup(text: str) -> str:
    return html.escape(text, quote=False)


def _timed(cue: Cue) -> list[str]:
    """Rows with the time before each word; WebVTT wants times inside the cue that rise."""
    rows, last_ms = [], cue.start_ms
    for row in cue.rows:
        text = ""
        for piece in row:
            ms = _ms(piece.start_s)
            stamp = f"<{clock(ms)}>" if last_ms < ms < cue.end_ms else ""
            last_ms = ms if stamp else last_ms
            text += (" " if piece.blank and text else "") + stamp + _markup(piece.text)
        rows.append(text)
    return rows


def _rttm(transcript: Transcript) -> str:
    """NIST Rich Transcription Time Marked (RT-09 evaluation plan, appendix A): ten fields that hold no blanks."""
    return "".join(
        f"SPEAKER {transcript.transcript_id} {s.channel + 1} {s.start_s:.3f} {max(0.001, s.end_s - s.start_s):.3f}"
        f" <NA> <NA> {_field(name_of(transcript, s.speaker), s.speaker)} <NA> <NA>\n"
        for s in transcript.segments
    )


def _field(name: str, label: str) -> str:
    return label if name.upper() == "<NA>" else "_".join(name.split())


def _csv(transcript: Transcript) -> str:
    head = ["start_s", "end_s", "speaker", "text", "emotion", "confidence"]
    rows = []
    for s in transcript.segments:
        emotion = s.emotion.label if s.emotion else ""
        name, text = _cell(name_of(transcript, s.speaker)), _cell(_one_line(s.text))
        rows.append([f"{s.start_s:.3f}", f"{s.end_s:.3f}", name, text, emotion, s.confidence])
    return _table(head, rows)


def _csv_words(transcript: Transcript) -> str:
    """A row for each word; where a segment has none, or others than its text, they are guessed and not aligned."""
    head = ["start_s", "end_s", "speaker", "word", "confidence", "aligned", "segment_id"]
    rows = [
        [
            f"{word.start_s:.3f}",
            f"{word.end_s:.3f}",
            _cell(name_of(transcript, s.speaker)),
            _cell(_one_line(word.word)),
            word.confidence,
            "true" if word.aligned else "false",
            s.segment_id,
        ]
        for s in transcript.segments
        for word in words_of(s)
    ]
    return _table(head, rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    out = io.StringIO()
    csv.writer(out).writerows([head, *rows])
    return out.getvalue()


def _cell(text: str) -> str:
    return f"'{text}" if text.lstrip().startswith(FORMULA) else text


FORMATS: dict[ExportFormat, tuple[Callable[[Transcript], str], str]] = {
    "json": (_json, "application/json"),
    "txt": (_txt, "text/plain; charset=utf-8"),
    "md": (_md, "text/markdown; charset=utf-8"),
    "srt": (_srt, "application/x-subrip; charset=utf-8"),
    "vtt": (_vtt, "text/vtt; charset=utf-8"),
    "rttm": (_rttm, "text/plain; charset=utf-8"),
    "csv": (_csv, "text/csv; charset=utf-8"),
}
_BY_WORD: dict[ExportFormat, Callable[[Transcript], str]] = {"vtt": partial(_vtt, words=True), "csv": _csv_words}


def _end_ms(segment: Segment) -> int:
    return max(_ms(segment.end_s), _ms(segment.start_s) + 1)


def srt_of(segments: Sequence[Segment]) -> str:
    """Captions without names."""
    return "\n".join(
        f"{n}\n{clock(_ms(s.start_s), ',')} --> {clock(_end_ms(s), ',')}\n{_no_arrow(_one_line(s.text))}\n"
        for n, s in enumerate(segments, start=1)
    )


def vtt_of(segments: Sequence[Segment]) -> str:
    """Captions without names."""
    blocks = [
        f"{clock(_ms(s.start_s))} --> {clock(_end_ms(s))}\n{html.escape(_one_line(s.text), quote=False)}\n"
        for s in segments
    ]
    return "\n".join(["WEBVTT\n", *blocks])


def rttm_of(turns: Iterable[tuple[str, float, float]], file_id: str) -> str:
    """NIST Rich Transcription Time Marked of (speaker, start_s, end_s)."""
    rows = [
        f"SPEAKER {file_id} 1 {start:.3f} {max(0.001, end - start):.3f} <NA> <NA> {speaker} <NA> <NA>\n"
        for speaker, start, end in turns
    ]
    return "".join(rows)
