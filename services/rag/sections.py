"""Cuts the text of a document into passages that know where they stand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shared.words import SENTENCE_END

LEAST_CHARS = 200
"""A section shorter than this goes with the next one of its page; many headings are no reason for as many passages."""


@dataclass(frozen=True)
class Mark:
    """From `offset` on the text stands on this page, and under this heading where one is given."""

    offset: int
    page: int | None = None
    heading: str | None = None


@dataclass(frozen=True)
class Piece:
    """A passage: `text` is the document's text from `start` to `end`, in characters."""

    text: str
    start: int
    end: int
    page: int | None = None
    heading: str | None = None


@dataclass(frozen=True)
class _Section:
    start: int
    end: int
    page: int | None
    heading: str | None


def cut(text: str, marks: Sequence[Mark], most_chars: int) -> list[Piece]:
    """Whole sentences up to `most_chars`, never over the end of a page; each begins with the last sentence before."""
    return [piece for section in _sections(text, marks) for piece in _pieces(text, section, most_chars)]


def _sections(text: str, marks: Sequence[Mark]) -> list[_Section]:
    found: list[_Section] = []
    page: int | None = None
    heading: str | None = None
    starts = [Mark(0), *marks]
    for at, mark in enumerate(starts):
        page = mark.page if mark.page is not None else page
        heading = mark.heading or heading
        end = starts[at + 1].offset if at + 1 < len(starts) else len(text)
        if not text[mark.offset : end].strip():
            continue
        last = found[-1] if found else None
        if last and last.page == page and last.end - last.start < LEAST_CHARS:
            found[-1] = _Section(last.start, end, page, last.heading or heading)
        else:
            found.append(_Section(mark.offset, end, page, heading))
    return found


def _pieces(text: str, section: _Section, most_chars: int) -> Iterator[Piece]:
    current: list[tuple[int, int]] = []
    for start, end in _sentences(text, section, most_chars):
        if current and end - current[0][0] > most_chars:
            yield _piece(text, section, current)
            fits = len(current) > 1 and end - current[-1][0] <= most_chars
            current = current[-1:] if fits else []
        current.append((start, end))
    if current:
        yield _piece(text, section, current)


def _piece(text: str, section: _Section, sentences: Sequence[tuple[int, int]]) -> Piece:
    start, end = sentences[0][0], sentences[-1][1]
    return Piece(text[start:end], start, end, section.page, section.heading)


def _sentences(text: str, section: _Section, most_chars: int) -> Iterator[tuple[int, int]]:
    """Where they begin and end, without the space around them; longer ones are cut."""
    at = section.start
    ends = [found.span() for found in SENTENCE_END.finditer(text, section.start, section.end)]
    for stop, after in [*ends, (section.end, section.end)]:
        start, end = _stripped(text, at, stop)
        for begin in range(start, end, most_chars):
            found = _stripped(text, begin, min(begin + most_chars, end))
            if found[0] < found[1]:
                yield found
        at = after


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    words = text[start:end]
    return start + len(words) - len(words.lstrip()), start + len(words.rstrip())
