"""Every export is read again by a program that is not ours, whatever people are called and whatever they say."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import av
import pytest
import webvtt
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from services.transcription.exports import FORMULA, WORD_JOINER, export, name_of
from shared.schemas.transcription import ExportFormat, Segment, SpanEmotion, Speaker, Transcript, Word

HOSTILE = [
    "two\nlines\r\nand\u2028more",
    "1\n00:00:00,000 --> 00:00:09,000\nnot said",
    "a --> b -->",
    "</v><v Mallory>I confess",
    "<00:00:01.000><c.red>x &amp; y &lt; z",
    "NOTE hidden",
    "STYLE\n::cue { color: red }",
    "::cue(b)",
    '=HYPERLINK("http://x","y")',
    "+1-2@3",
    "\"quoted\", 'so'; it was",
    "# no heading\n- no list\n1. nor this",
    "*not* _this_ `code` [link](http://x) ![i](y) <b>bold</b> | cell | ~~x~~ \\ &copy;",
    "\u202eevil\u202c שלום مرحبا",
    "🙂👨‍👩‍👧‍👦 é",
    "你好世界这是一个没有空格的很长的句子" * 5,
    "\x1b[31mred\x07",
    "x" * 10_240,
    "12345678901234567890123456789012345678901 5 00:00:01,000 --> 00:00:02,000 gone",
    ";; comment <NA> SPEAKER",
    "{\\an8}{b}top",
    "'",
]
FORMS: list[ExportFormat] = ["json", "txt", "md", "srt", "vtt", "rttm", "csv"]


def said(text: str, start_s: float, end_s: float, speaker: str, *, timed: bool = True) -> Segment:
    tokens = text.split() if timed else []
    step_s = (end_s - start_s) / max(1, len(tokens))
    return Segment(
        segment_id=f"seg_{start_s}",
        start_s=start_s,
        end_s=end_s,
        speaker=speaker,
        text=text,
        confidence=0.9,
        words=[
            Word(word=token, start_s=start_s + n * step_s, end_s=start_s + (n + 1) * step_s, confidence=0.5)
            for n, token in enumerate(tokens)
        ],
        emotion=SpanEmotion(label="joy", score=0.9),
    )


def transcript(*segments: Segment, names: dict[str, str] | None = None, title: str = "Call") -> Transcript:
    labels = dict.fromkeys(segment.speaker for segment in segments)
    return Transcript(
        transcript_id="rec_01",
        status="completed",
        title=title,
        text=" ".join(segment.text for segment in segments),
        created_at=datetime(2026, 1, 2, tzinfo=UTC),
        speakers=[Speaker(label=label, name=(names or {}).get(label)) for label in labels],
        segments=list(segments),
    )


def plain(text: str) -> str:
    """In one line, without control characters: what a reader sees."""
    return " ".join("".join(c for c in text if c.isspace() or ord(c) > 0x9F or c.isprintable()).split())


def dense(text: str) -> str:
    return "".join(plain(text).split()).replace(WORD_JOINER, "")


@dataclass(frozen=True)
class Turn:
    start_s: float
    end_s: float
    text: str
    voice: str | None = None


def read_vtt(text: str) -> list[Turn]:
    """By webvtt-py, which wants the syntax of the recommendation."""
    captions = webvtt.from_string(text).captions
    return [Turn(_seconds(c.start), _seconds(c.end), _shown(c.raw_text), c.voice) for c in captions]


def _shown(raw: str) -> str:
    """Without the tags, and with what is escaped, as the recommendation reads cue text."""
    return html.unescape(re.sub(r"<[^>]*>", "", raw))


def _seconds(clock: str) -> float:
    hours, minutes, seconds = clock.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


def read_srt(text: str) -> list[Turn]:
    captions = webvtt.from_buffer(io.StringIO(text), format="srt").captions if text else []
    return [Turn(_seconds(c.start), _seconds(c.end), c.raw_text) for c in captions]


def ffmpeg_cues(text: str, form: str, folder: Path) -> list[tuple[float, float]]:
    """What FFmpeg's demuxer, which most players share, takes for cues: (start, end) in seconds."""
    path = folder / f"a.{form}"
    path.write_text(text)
    with av.open(str(path)) as container:
        packets = [p for p in container.demux() if p.size and p.pts is not None]
        return [(float(p.pts * p.time_base), float((p.pts + p.duration) * p.time_base)) for p in packets]


def read_rttm(text: str) -> list[tuple[str, int, float, float, str]]:
    """Strictly by the columns of NIST's RTTM: type file channel begin duration orthography subtype name conf slat."""
    found = []
    for line in text.splitlines():
        fields = line.split(" ")
        assert len(fields) == 10 and all(fields), line[:80]
        kind, file, channel, begin, duration, ortho, subtype, name, confidence, slat = fields
        assert (kind, ortho, subtype, confidence, slat) == ("SPEAKER", "<NA>", "<NA>", "<NA>", "<NA>")
        assert re.fullmatch(r"\d+\.\d{3}", begin) and re.fullmatch(r"\d+\.\d{3}", duration) and float(duration) > 0
        found.append((file, int(channel), float(begin), float(duration), name))
    return found


def read_md(text: str) -> tuple[str, list[tuple[str, str]]]:
    """Title, and (name, text) of each paragraph, by markdown-it; anything but these is a failure."""
    tokens = MarkdownIt("commonmark").parse(text)
    assert {t.type for t in tokens} <= {
        "heading_open", "heading_close", "inline", "paragraph_open", "paragraph_close",
    }  # fmt: skip
    inlines = [t for t in tokens if t.type == "inline"]
    found = []
    for inline in inlines[1:]:
        types = [child.type for child in inline.children or []]
        assert types[0] == "text" or types[0] == "strong_open", types
        assert set(types) <= {"text", "text_special", "strong_open", "strong_close", "hardbreak"}, types
        end, brk = types.index("strong_close"), types.index("hardbreak")
        joined = lambda part: "".join(c.content for c in part)  # noqa: E731
        found.append((joined(inline.children[:end]), joined(inline.children[brk:])))
    return "".join(c.content for c in inlines[0].children or []), found


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("timed", [True, False])
def test_hostile_words_survive(text: str, timed: bool, tmp_path: Path) -> None:
    before, after = said("before", 0.0, 1.0, "SPEAKER_00"), said("after", 9.0, 10.0, "SPEAKER_00")
    whole = transcript(before, said(text, 2.0, 8.0, "SPEAKER_01", timed=timed), after, title=text[:200])
    assert Transcript.model_validate(json.loads(export(whole, "json")[0])) == whole
    expected = dense("".join(each.text for each in whole.segments))
    for words in (False, True):
        vtt = export(whole, "vtt", words=words)[0]
        cues = read_vtt(vtt)
        assert "".join(dense(cue.text) for cue in cues) == expected
        assert {cue.voice for cue in cues} == {"SPEAKER_00", "SPEAKER_01"}
        assert len(ffmpeg_cues(vtt, "vtt", tmp_path)) == len(cues)
    srt = export(whole, "srt")[0]
    cues = read_srt(srt)
    assert "".join(dense(cue.text) for cue in cues).replace("SPEAKER_00:", "").replace("SPEAKER_01:", "") == expected
    assert len(ffmpeg_cues(srt, "srt", tmp_path)) == len(cues) == srt.count(" --> ")
    lines = export(whole, "txt")[0].split("\n")
    assert lines[:-1] == [f"{s.speaker}: {plain(s.text)}" for s in whole.segments]
    rows = list(csv.reader(io.StringIO(export(whole, "csv")[0])))[1:]
    assert [row[3].removeprefix("'") for row in rows] == [plain(s.text).removeprefix("'") for s in whole.segments]
    assert not any(cell.startswith(FORMULA) for row in rows for cell in row)
    title, paragraphs = read_md(export(whole, "md")[0])
    assert (plain(title), [plain(p) for _, p in paragraphs]) == (
        plain(text[:200]),
        [plain(s.text) for s in whole.segments],
    )


@pytest.mark.parametrize("name", [each[:100] for each in HOSTILE] + [" ", "\n", "<NA>"])
def test_hostile_names_survive(name: str, tmp_path: Path) -> None:
    whole = transcript(said("one", 0, 1, "SPEAKER_00"), said("two", 1, 2, "SPEAKER_01"), names={"SPEAKER_01": name})
    shown = plain(name) or "SPEAKER_01"
    assert name_of(whole, "SPEAKER_01") == shown
    vtt = export(whole, "vtt")[0]
    assert len(vtt.split("\n\n")) == 3 and len(ffmpeg_cues(vtt, "vtt", tmp_path)) == 2
    assert [cue.text for cue in read_vtt(vtt)] == ["one", "two"]
    srt = export(whole, "srt")[0]
    assert [dense(cue.text) for cue in read_srt(srt)] == ["SPEAKER_00:one", dense(f"{shown}: two")]
    assert len(ffmpeg_cues(srt, "srt", tmp_path)) == 2
    names = [turn[-1] for turn in read_rttm(export(whole, "rttm")[0])]
    assert names == ["SPEAKER_00", "SPEAKER_01" if shown == "<NA>" else "_".join(shown.split())]
    assert export(whole, "txt")[0] == f"SPEAKER_00: one\n{shown}: two\n"
    assert [plain(each) for each, _ in read_md(export(whole, "md")[0])[1]] == ["SPEAKER_00", shown]
    for words in (False, True):
        rows = list(csv.reader(io.StringIO(export(whole, "csv", words=words)[0])))
        assert rows[2][2].removeprefix("'") == shown.removeprefix("'") and not rows[2][2].startswith(FORMULA)


def test_nothing_said_is_a_valid_file_too(tmp_path: Path) -> None:
    for whole in (transcript(), transcript(said(" ", 1.0, 2.0, "SPEAKER_00"))):
        found = {form: export(whole, form)[0] for form in FORMS}
        assert (found["txt"], found["srt"], found["vtt"]) == ("", "", "WEBVTT\n")
        assert read_vtt(found["vtt"]) == [] and read_md(found["md"]) == ("Call", [])
        assert (
            len(read_rttm(found["rttm"])) == len(list(csv.DictReader(io.StringIO(found["csv"])))) == len(whole.segments)
        )
        assert json.loads(found["json"])["title"] == "Call"
        assert export(whole, "vtt", words=True)[0] == "WEBVTT\n"


def test_long_talk_is_cut_into_two_rows_of_42_and_seven_seconds(tmp_path: Path) -> None:
    text = " ".join(f"word{n}, and then another one." for n in range(60))
    whole = transcript(said(text, 5.0, 125.0, "SPEAKER_00"), said("Slowly said " * 3, 130.0, 160.0, "SPEAKER_01"))
    for form, read in (("vtt", read_vtt), ("srt", read_srt)):
        cues = read(export(whole, form)[0])  # type: ignore[arg-type,operator]
        assert len(cues) > 20
        for cue in cues:
            rows = cue.text.split("\n")
            assert len(rows) <= 2 and all(len(row) <= 42 for row in rows), rows
            assert 0 < cue.end_s - cue.start_s <= 7.0
        assert all(a.end_s <= b.start_s + 0.001 for a, b in pairwise(cues))
    words = {round(w.start_s, 3) for s in whole.segments for w in s.words}
    assert all(any(abs(cue.start_s - at) < 0.002 for at in words) for cue in read_vtt(export(whole, "vtt")[0]))
    assert export(whole, "srt")[0].count("SPEAKER_00: ") == 1, "a name once, where its turn begins"


def test_word_times_rise_inside_their_cue() -> None:
    whole = transcript(said("one two three", 1.0, 4.0, "SPEAKER_00"))
    assert export(whole, "vtt", words=True)[0] == (
        "WEBVTT\n\n00:00:01.000 --> 00:00:04.000\n<v SPEAKER_00>one <00:00:02.000>two <00:00:03.000>three</v>\n"
    )
    flat = transcript(said("at once", 3600.0, 3600.0, "SPEAKER_00"))
    assert "01:00:00.000 --> 01:00:00.001\n<v SPEAKER_00>at once</v>" in export(flat, "vtt", words=True)[0]
    rows = list(csv.DictReader(io.StringIO(export(whole, "csv", words=True)[0])))
    assert [rows[0][name] for name in ("start_s", "end_s", "word", "aligned")] == ["1.000", "2.000", "one", "true"]


def test_two_who_talk_at_once_are_both_there_in_order() -> None:
    whole = transcript(
        said(" ".join(f"left{n}" for n in range(40)), 0.0, 40.0, "SPEAKER_00"),
        said("right", 11.0, 12.0, "SPEAKER_01"),
        said("within", 11.0, 11.0, "SPEAKER_02"),
    )
    cues = read_vtt(export(whole, "vtt")[0])
    assert [c.start_s for c in cues] == sorted(c.start_s for c in cues)
    assert {c.voice for c in cues} == {"SPEAKER_00", "SPEAKER_01", "SPEAKER_02"}
    srt = [c.text for c in read_srt(export(whole, "srt")[0])]
    at = next(n for n, each in enumerate(srt) if each.startswith("SPEAKER_02"))
    assert srt[at + 1].startswith("SPEAKER_00: left"), "who goes on talking is named again"
    assert [(turn[2], turn[4]) for turn in read_rttm(export(whole, "rttm")[0])] == [
        (0.0, "SPEAKER_00"), (11.0, "SPEAKER_01"), (11.0, "SPEAKER_02"),
    ]  # fmt: skip


CHARS = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60)
WILD = st.one_of(CHARS, st.text(alphabet=" \n-><v/&;:.0,1#*_|'=\u2028\u202e好", max_size=120))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(WILD, st.floats(0, 20), st.floats(0, 20), st.integers(0, 2), st.booleans()), max_size=4),
    st.dictionaries(st.sampled_from(["SPEAKER_00", "SPEAKER_01"]), WILD, max_size=2),
    WILD,
)
def test_anything_survives(
    given_: list[tuple[str, float, float, int, bool]], names: dict[str, str], title: str
) -> None:
    whole = transcript(
        *(
            said(text, at_s, at_s + long_s, f"SPEAKER_{who:02d}", timed=timed)
            for text, at_s, long_s, who, timed in given_
        ),
        names=names,
        title=title,
    )
    spoken = [each for each in whole.segments if plain(each.text)]
    assert Transcript.model_validate_json(export(whole, "json")[0]) == whole
    assert export(whole, "txt")[0].count("\n") == len(spoken)
    assert len(read_rttm(export(whole, "rttm")[0])) == len(whole.segments)
    assert [plain(each) for _, each in read_md(export(whole, "md")[0])[1]] == [plain(each.text) for each in spoken]
    assert len(list(csv.reader(io.StringIO(export(whole, "csv")[0])))) == len(whole.segments) + 1
    for form, read in (("vtt", read_vtt), ("srt", read_srt)):
        text = export(whole, form)[0]  # type: ignore[arg-type]
        cues = read(text)  # type: ignore[operator]
        assert len(cues) == text.count(" --> ")
        assert all(cue.start_s < cue.end_s for cue in cues)
