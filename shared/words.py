"""Where the words of a segment stand in its text, and how an edited text gets its times.

Words and text are two accounts of the same characters: a model may hear `well` `-known` where the text reads
`well-known`, and Chinese and Japanese are written without blanks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from shared.schemas.transcription import Segment, Word

_TOKEN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\s\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+")
"""Kana and Chinese characters are tokens each; everything else goes by blanks."""
ABBREVIATIONS = ("Mr", "Ms", "Dr", "St", "vs", "Mrs", "Prof", r"e\.g", r"i\.e")
"""Patterns of what ends in a full stop within a sentence, for everybody; some add what only they meet."""
SENTENCE_END = re.compile(
    r"(?<=[.!?…])" + "".join(rf"(?<!\b{each}\.)" for each in ABBREVIATIONS) + r"\s+|\n+",
)
"""The blanks after a sentence; "Mr. Hale" is none."""
_GRAMMAR = """
    a about an and are as at be but by did do does for from had has have he her his how i if in is it its me my
    of on or our say she so that the their them there they this to was we were what when where which who will
    with would you your
"""
GRAMMAR = frozenset(_GRAMMAR.split())
"""English words that say nothing by themselves, for everybody; who compares words adds what says nothing there."""
_BLANK = re.compile(r"\s+")
_MARK = re.compile(r"[\W_]+")
MOST_COMPARED = 1_000
"""Tokens. In a longer change no word is recognised. From 200 on `difflib` leaves out the popular ones when it looks for
where to begin, which bounds the time: 0.1 s for the worst text that we found, where it was 20 s without."""


@dataclass(frozen=True)
class Token:
    """A stretch of text and the words that make exactly it."""

    text: str
    start: int
    """Where in the text it begins, in characters."""
    words: tuple[Word, ...]


def dense(text: str) -> str:
    """The text without its blanks."""
    return _BLANK.sub("", text)


def laid(text: str, words: Sequence[Word]) -> list[Token] | None:
    """The text cut wherever both a token and a word end; None where the two are not made of the same characters."""
    if dense(text) != "".join(dense(word.word) for word in words):
        return None
    found: list[Token] = []
    held: list[Word] = []
    begin, taken, heard, written = -1, 0, 0, 0
    for token in _TOKEN.finditer(text):
        begin = token.start() if begin < 0 else begin
        written += len(token.group())
        while heard < written:
            held.append(words[taken])
            heard += len(dense(words[taken].word))
            taken += 1
        if heard == written:
            found.append(Token(text[begin : token.end()], begin, tuple(held)))
            held, begin = [], -1
    return found


def words_of(segment: Segment) -> list[Word]:
    """Words that make the text of the segment: its own, or guessed ones where it has none or others."""
    if laid(segment.text, segment.words) is not None:
        return segment.words
    return align(segment, segment.text, segment.confidence)


def align(segment: Segment, text: str, confidence: float = 1.0) -> list[Word]:
    """The words of `text`, spoken where the segment is, with the times of the words that it had.

    Words that stay keep their times, also where only case or marks changed (Ratcliff/Obershelp matching, of `difflib`).
    New words share the time between their neighbours by their length, marked as not aligned, with `confidence`.
    """
    old = laid(segment.text, segment.words) or [Token(word.word, 0, (word,)) for word in segment.words]
    new = _TOKEN.findall(text)
    found: list[Word] = []
    at, now_s = 0, segment.start_s
    for token, begin, end in _kept(old, new):
        words = _respelled(token, "".join(new[begin:end]), confidence)
        found += _spread(new[at:begin], now_s, words[0].start_s, confidence)
        found += words
        at, now_s = end, words[-1].end_s
    return found + _spread(new[at:], now_s, segment.end_s, confidence)


def _kept(old: Sequence[Token], new: Sequence[str]) -> Iterator[tuple[Token, int, int]]:
    """Old tokens that are in the new text too, with where: first new token and end."""
    parts = [_TOKEN.findall(token.text) for token in old]
    places = _matches([_key(part) for each in parts for part in each], [_key(each) for each in new])
    at = 0
    for token, own in zip(old, parts, strict=True):
        found = [places.get(at + n) for n in range(len(own))]
        at += len(own)
        first = found[0] if found else None
        if first is not None and found == list(range(first, first + len(own))):
            yield token, first, first + len(own)


def _key(token: str) -> str:
    """What makes it the same word: its letters and digits; a mark by itself is itself."""
    return _MARK.sub("", token).casefold() or token


def _matches(old: Sequence[str], new: Sequence[str]) -> dict[int, int]:
    """Where each old key is in the new ones; both rise."""
    least = min(len(old), len(new))
    head = next((n for n in range(least) if old[n] != new[n]), least)
    rest = least - head
    tail = next((n for n in range(rest) if old[-1 - n] != new[-1 - n]), rest)
    found = {n: n for n in range(head)}
    middle, other = old[head : len(old) - tail], new[head : len(new) - tail]
    if max(len(middle), len(other)) <= MOST_COMPARED:
        for block in SequenceMatcher(None, middle, other).get_matching_blocks():
            found |= {head + block.a + n: head + block.b + n for n in range(block.size)}
    return found | {len(old) - tail + n: len(new) - tail + n for n in range(tail)}


def _respelled(token: Token, text: str, confidence: float) -> list[Word]:
    """The words of a token that stays; where it is written in another way now, it is one word."""
    if dense(token.text) == text:
        return list(token.words)
    first, last = token.words[0], token.words[-1]
    aligned = all(word.aligned for word in token.words)
    return [Word(word=text, start_s=first.start_s, end_s=last.end_s, confidence=confidence, aligned=aligned)]


def _spread(tokens: Sequence[str], start_s: float, end_s: float, confidence: float) -> list[Word]:
    """Between two moments, by length. Neighbours that overlap leave no time: then all at the later one's beginning."""
    start_s = min(start_s, end_s)
    per_char_s = (end_s - start_s) / max(1, sum(map(len, tokens)))
    found, chars = [], 0
    for token in tokens:
        times = (start_s + per_char_s * chars, start_s + per_char_s * (chars + len(token)))
        from_s, to_s = (min(max(round(at_s, 3), start_s), end_s) for at_s in times)
        found.append(Word(word=token, start_s=from_s, end_s=to_s, confidence=confidence, aligned=False))
        chars += len(token)
    return found
