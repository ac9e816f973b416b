"""A text as the sentences in which it is spoken."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from shared.words import ABBREVIATIONS

LONGEST_CHARS = 220
"""Some 15 s of speech. A sentence beyond it is cut, so that nobody's turn is much longer than another's."""
UNSPOKEN = frozenset(("Cc", "Cf", "Cn", "Co", "Cs", "So", "Sk", "Me"))
"""Unicode categories of control characters, joiners, unassigned and private ones, emoji and their skin tones."""
_SPOKEN = frozenset("°©®™№")
"""Symbols of the same category as emoji that have a name in a sentence."""
_BRACKETS = str.maketrans("[]\ufe0f\u20e3", "    ")
"""The engines take brackets for their own phoneme notation; the others are what stays of emoji."""
_ABBREVIATION = re.compile(rf"\b(?:{'|'.join(ABBREVIATIONS)}|Sr|Jr|Mt|etc|approx|No|[A-Z])\.$")
ABBREVIATION_CHARS = 10
# A run of marks is looked at once, from its beginning and without going back: thousands of them cost no more than one.
_END = re.compile(r"(?<![.!?…。！？])[.!?…。！？]++[\"'”’)»]*+(?=\s|$)|(?<=[。！？])|\n\s*\n")
_CLAUSE = re.compile(r".*[,;:–—、，；]\s*", re.DOTALL)


def cut(text: str) -> list[str]:
    """One line each, in their order, at most 220 characters; empty where nothing in the text can be spoken."""
    found = []
    for sentence in _sentences(plain(text)):
        found += [each for part in _short(" ".join(sentence.split())) if _speakable(each := part.strip())]
    return found


def plain(text: str) -> str:
    """Without what has no sound; line ends and tabs stay as space between words."""
    return "".join(each if _has_sound(each) else " " for each in text.translate(_BRACKETS))


def _has_sound(character: str) -> bool:
    return character.isspace() or character in _SPOKEN or unicodedata.category(character) not in UNSPOKEN


def _sentences(text: str) -> Iterator[str]:
    began = 0
    for end in _END.finditer(text):
        if not _ABBREVIATION.search(text[max(began, end.end() - ABBREVIATION_CHARS) : end.end()]):
            yield text[began : end.end()]
            began = end.end()
    yield text[began:]


def _short(sentence: str) -> Iterator[str]:
    """Cut after a clause, else between words, else anywhere."""
    while len(sentence) > LONGEST_CHARS:
        head = sentence[:LONGEST_CHARS]
        clause = _CLAUSE.match(head)
        at = clause.end() if clause and clause.end() > LONGEST_CHARS // 3 else head.rfind(" ") + 1 or LONGEST_CHARS
        yield sentence[:at]
        sentence = sentence[at:]
    yield sentence


def _speakable(part: str) -> bool:
    return any(character.isalnum() for character in part)
