"""The text of an answer out of its tokens' bytes: whole characters only, and nothing from a stop string on."""

from __future__ import annotations

import codecs
from collections.abc import Sequence


class Words:
    """Feed it the bytes of each token; show what it gives back."""

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stops = tuple(stops)
        self._held = ""
        self.stopped = False
        """A stop string came; neither it nor what follows is shown."""

    def hear(self, token: bytes) -> str:
        self._held += self._decoder.decode(token)
        at = min((at for stop in self._stops if (at := self._held.find(stop)) >= 0), default=-1)
        if at >= 0:
            self.stopped = True
            said, self._held = self._held[:at], ""
            return said
        return self._let_go(len(self._held) - self._begun())

    def end(self) -> str:
        """What was held back as the possible beginning of a stop string or as half a character."""
        if self.stopped:
            return ""
        self._held += self._decoder.decode(b"", final=True)
        return self._let_go(len(self._held))

    def _begun(self) -> int:
        """Characters at the end that may turn into a stop string."""
        return max((_overlap(self._held, stop) for stop in self._stops), default=0)

    def _let_go(self, size: int) -> str:
        said, self._held = self._held[:size], self._held[size:]
        return said


def _overlap(text: str, stop: str) -> int:
    most = min(len(text), len(stop) - 1)
    return next((size for size in range(most, 0, -1) if text.endswith(stop[:size])), 0)
