"""An answer as it is said aloud: sentence by sentence while its text comes, without marks that only the eye needs."""

from __future__ import annotations

import re
from collections.abc import Iterator

from shared.words import SENTENCE_END

LEAST_CHARS = 12
"""A shorter sentence ("No.") is said in one breath with the next, if that is there already."""
MOST_CHARS = 400
"""A sentence that does not end is cut between two words."""
_SOURCE = re.compile(r"\s*—\s([^—\[\]\n]*?)\s?\[\d{1,3}\]")
"""What our quotations carry: ` — Anna at 1:05 in Title [1]`."""
_CLOCK = re.compile(r"\bat \d+:\d\d\b\s*")
_CITATION = re.compile(r"\s?\[\d{1,3}(?:\s?[,;–-]\s?\d{1,3})*\]")
_CITED = re.compile(r"\[\d{1,3}\]\s*$")
_MARKS = re.compile(r"[“”„«»\"*_`#>|\[\]{}]+")
_BLANKS = re.compile(r"\s+")
_BEFORE_STOP = re.compile(r"[\s.!?…]*\s*(,)|\s+([.!?;:…])")


class Spoken:
    """Feed it the pieces of a text; it gives sentences, at most `most_chars` of them together."""

    def __init__(self, most_chars: int) -> None:
        self._left = most_chars
        self._held = ""
        self.cut = False
        """More was written than is said aloud."""

    def feed(self, text: str) -> list[str]:
        self._held += text
        return self._said(self._whole())

    def pause(self) -> list[str]:
        """Nothing more comes for a while: what sounds like a whole sentence is one."""
        whole = SENTENCE_END.split(f"{self._held.rstrip()} ")[-1] == "" or _CITED.search(self._held)
        return self.end() if whole else []

    def end(self) -> list[str]:
        rest, self._held = self._held, ""
        return self._said(iter([rest]))

    def _whole(self) -> Iterator[str]:
        """The sentences that have ended. A source belongs to the quotation before it, so a line goes as one."""
        while True:
            at = self._end()
            if at is None:
                return
            sentence, self._held = self._held[:at], self._held[at:]
            yield sentence

    def _end(self) -> int | None:
        for found in SENTENCE_END.finditer(self._held):
            if found.start() >= LEAST_CHARS and found.end() < len(self._held):
                return found.end()
            if found.group().count("\n") and self._held[: found.start()].strip():
                return found.end()
        if len(self._held) > MOST_CHARS:
            return self._held.rfind(" ", 0, MOST_CHARS) + 1 or MOST_CHARS
        return None

    def _said(self, sentences: Iterator[str]) -> list[str]:
        found = []
        for sentence in sentences:
            said = aloud(sentence)
            if not any(character.isalnum() for character in said):
                continue
            if len(said) > self._left:
                self.cut, self._left = True, 0  # nor is a shorter one after it: that would be another text
                continue
            self._left -= len(said)
            found.append(said)
        return found


def aloud(text: str) -> str:
    """Without marks of citation, quotation and layout; of a source its speaker and title, not the second."""
    text = _SOURCE.sub(lambda found: f", {_CLOCK.sub('', found.group(1))}", text)
    text = _MARKS.sub(" ", _CITATION.sub("", text)).replace("—", ", ")
    return _BEFORE_STOP.sub(r"\1\2", _BLANKS.sub(" ", text)).strip(" ,;")
