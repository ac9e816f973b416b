"""A transcript in the formats that other programs read."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Callable, Iterable, Sequence

from shared.schemas.transcription import ExportFormat, Segment, Transcript

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A cell that begins so is a formula to a spreadsheet (OWASP, CSV injection)."""
_BLOCK = re.compile(r"^(\d*)([-+=.)])")
"""What at the beginning of a line makes a list or a heading of it."""


def export(transcript: Transcript, form: ExportFormat) -> tuple[str, str]:
    """The text and its media type."""
    make, media_type = FORMATS[form]
    return make(transcript), media_type


def name_of(transcript: Transcript, label: str) -> str:
    for speaker in transcript.speakers:
        if speaker.label == label:
            return speaker.name or label
    return label


def clock(seconds: float, mark: str = ".") -> str:
    """`00:01:02.345`"""
    ms = max(0, round(seconds * 1000))
    return f"{ms // 3_600_000:02d}:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d}{mark}{ms % 1000:03d}"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _json(transcript: Transcript) -> str:
    return transcript.model_dump_json(indent=2) + "\n"


def _txt(transcript: Transcript) -> str:
    lines = [f"{name_of(transcript, s.speaker)}: {_one_line(s.text)}" for s in transcript.segments]
    return "\n".join(lines) + "\n"


def _md(transcript: Transcript) -> str:
    def escaped(text: str) -> str:
        line = "".join(f"\\{c}" if c in "\\`*_{}[]<>#|&~" else c for c in _one_line(text))
        return _BLOCK.sub(r"\1\\\2", line)

    lines = [f"# {escaped(transcript.title)}", ""]
    for s in transcript.segments:
        lines += [f"**{escaped(name_of(transcript, s.speaker))}** ({clock(s.start_s)})  ", escaped(s.text), ""]
    return "\n".join(lines)


def _srt(transcript: Transcript) -> str:
    blocks = [
        f"{n}\n{clock(s.start_s, ',')} --> {clock(_end(s), ',')}\n"
        f"{name_of(transcript, s.speaker)}: {_one_line(s.text)}\n"
        for n, s in enumerate(transcript.segments, start=1)
    ]
    return "\n".join(blocks)


def _vtt(transcript: Transcript) -> str:
    blocks = ["WEBVTT\n"]
    for s in transcript.segments:
        name = html.escape(_one_line(name_of(transcript, s.speaker)), quote=False)
        text = html.escape(_one_line(s.text), quote=False)
        blocks.append(f"{clock(s.start_s)} --> {clock(_end(s))}\n<v {name}>{text}</v>\n")
    return "\n".join(blocks)


def _end(segment: Segment) -> float:
    return max(segment.end_s, segment.start_s + 0.001)


def _rttm(transcript: Transcript) -> str:
    """NIST Rich Transcription Time Marked; fields hold no blanks."""
    rows = [
        f"SPEAKER {transcript.transcript_id} {s.channel + 1} {s.start_s:.3f} {max(0.001, s.end_s - s.start_s):.3f}"
        f" <NA> <NA> {'_'.join(name_of(transcript, s.speaker).split()) or s.speaker} <NA> <NA>"
        for s in transcript.segments
    ]
    return "\n".join(rows) + "\n"


def _csv(transcript: Transcript) -> str:
    out = io.StringIO()
    rows = csv.writer(out)
    rows.writerow(["start_s", "end_s", "speaker", "text", "emotion", "confidence"])
    for s in transcript.segments:
        emotion = s.emotion.label if s.emotion else ""
        name, text = _cell(name_of(transcript, s.speaker)), _cell(_one_line(s.text))
        rows.writerow([f"{s.start_s:.3f}", f"{s.end_s:.3f}", name, text, emotion, s.confidence])
    return out.getvalue()


def _cell(text: str) -> str:
    return f"'{text}" if text.lstrip().startswith(FORMULA) else text


FORMATS: dict[str, tuple[Callable[[Transcript], str], str]] = {
    "json": (_json, "application/json"),
    "txt": (_txt, "text/plain; charset=utf-8"),
    "md": (_md, "text/markdown; charset=utf-8"),
    "srt": (_srt, "application/x-subrip; charset=utf-8"),
    "vtt": (_vtt, "text/vtt; charset=utf-8"),
    "rttm": (_rttm, "text/plain; charset=utf-8"),
    "csv": (_csv, "text/csv; charset=utf-8"),
}


def srt_of(segments: Sequence[Segment]) -> str:
    """Captions without names."""
    return "\n".join(
        f"{n}\n{clock(s.start_s, ',')} --> {clock(_end(s), ',')}\n{_one_line(s.text)}\n"
        for n, s in enumerate(segments, start=1)
    )


def vtt_of(segments: Sequence[Segment]) -> str:
    """Captions without names."""
    blocks = [
        f"{clock(s.start_s)} --> {clock(_end(s))}\n{html.escape(_one_line(s.text), quote=False)}\n" for s in segments
    ]
    return "\n".join(["WEBVTT\n", *blocks])


def rttm_of(turns: Iterable[tuple[str, float, float]], file_id: str) -> str:
    """NIST Rich Transcription Time Marked of (speaker, start_s, end_s)."""
    rows = [
        f"SPEAKER {file_id} 1 {start:.3f} {max(0.001, end - start):.3f} <NA> <NA> {speaker} <NA> <NA>\n"
        for speaker, start, end in turns
    ]
    return "".join(rows)
