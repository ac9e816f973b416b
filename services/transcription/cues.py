"""Subtitles of a transcript: what is on the screen together, and in which rows.

At most two rows of 42 characters and 7 seconds: Netflix, Timed Text Style Guide, General Requirements and English
(USA); cut between words, at the words' times. (Its narrower rows for Chinese, Japanese and Korean are not kept to.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from shared.schemas.transcription import Segment, Transcript, Word
from shared.words import laid, words_of

ROWS, ROW_CHARS, MOST_S = 2, 42, 7.0


@dataclass(frozen=True)
class Piece:
    """A stretch of text that is not cut, and when it is said."""

    text: str
    blank: bool
    """Whether a blank comes before it."""
    words: tuple[Word, ...]

    @property
    def start_s(self) -> float:
        return self.words[0].start_s

    @property
    def end_s(self) -> float:
        return max(word.end_s for word in self.words)


@dataclass(frozen=True)
class Cue:
    """Rows of one speaker. The end is after the start, also where a segment has no length."""

    start_ms: int
    end_ms: int
    segment: Segment
    rows: tuple[tuple[Piece, ...], ...]


def row_text(row: Sequence[Piece]) -> str:
    return "".join(f" {each.text}" if each.blank and at else each.text for at, each in enumerate(row))


def cues_of(transcript: Transcript, indent: Callable[[Segment], int] = lambda _: 0) -> list[Cue]:
    """By their beginning. `indent`: characters that are put before the first row of a segment.

    A word longer than a row has a row of its own; a segment without text has no cue.
    """
    found = [cue for segment in transcript.segments for cue in _cues(segment, indent(segment))]
    return sorted(found, key=lambda cue: cue.start_ms)


def _cues(segment: Segment, indent: int) -> Iterator[Cue]:
    for rows in _filled(_pieces(segment), indent):
        said = [piece for row in rows for piece in row]
        start_s = said[0].start_s
        end_s = min(max(each.end_s for each in said), start_s + MOST_S)
        start_ms = max(0, round(start_s * 1000))
        yield Cue(start_ms, max(start_ms + 1, round(end_s * 1000)), segment, tuple(map(tuple, rows)))


def _pieces(segment: Segment) -> list[Piece]:
    text = " ".join(segment.text.split())
    tokens = laid(text, words_of(segment)) or ()
    return [Piece(each.text, text[max(0, each.start - 1)] == " ", each.words) for each in tokens]


def _filled(every: Sequence[Piece], indent: int) -> Iterator[list[list[Piece]]]:
    """Rows of one cue after another, filled from the first."""
    rows: list[list[Piece]] = [[]]
    chars, until_s = indent, every[0].start_s + MOST_S if every else 0.0
    for piece in every:
        blank = piece.blank and bool(rows[-1])
        fits = chars == 0 or chars + blank + len(piece.text) <= ROW_CHARS
        if any(rows) and (piece.end_s > until_s or not (fits or len(rows) < ROWS)):
            yield rows
            rows, chars, until_s = [[]], 0, piece.start_s + MOST_S
        elif not fits:
            rows.append([])
            chars = 0
        chars += (piece.blank and bool(rows[-1])) + len(piece.text)
        rows[-1].append(piece)
    if any(rows):
        yield rows
