"""Which words of an utterance will stay: those that two looks in a row agree on.

LocalAgreement-2 (Liu, Spanakis, Niehues 2020; on Whisper: Macháček, Dabre, Bojar 2023): the longest common prefix of
the latest two hypotheses is settled, and what is settled is never taken back before the final.
"""

from __future__ import annotations

from collections.abc import Sequence

SHIFT = 2
"""How many words a later hypothesis may have more or fewer before the place that was settled."""


class LocalAgreement:
    """Of one utterance."""

    def __init__(self) -> None:
        self._settled: list[str] = []
        self._before: list[str] = []

    def hear(self, words: Sequence[str]) -> tuple[list[str], list[str]]:
        """Newly settled words, and those after them that may still change."""
        rest = list(words[self._place(words) :])
        agreed = 0
        while agreed < min(len(rest), len(self._before)) and _same(rest[agreed], self._before[agreed]):
            agreed += 1
        settled, self._before = rest[:agreed], rest[agreed:]
        self._settled += settled
        return settled, self._before

    def _place(self, words: Sequence[str]) -> int:
        """Where in the new hypothesis the settled words end."""
        count = len(self._settled)
        if count == 0:
            return 0
        near = sorted(range(max(0, count - SHIFT), min(len(words), count + SHIFT) + 1), key=lambda at: abs(at - count))
        tail = self._settled[-2:]
        for at in near:
            if at >= len(tail) and all(_same(a, b) for a, b in zip(words[at - len(tail) : at], tail, strict=True)):
                return at
        return min(count, len(words))


def _same(one: str, other: str) -> bool:
    return _bare(one) == _bare(other)


def _bare(word: str) -> str:
    """Capitals and commas come and go from look to look."""
    return "".join(c for c in word.casefold() if c.isalnum()) or word
