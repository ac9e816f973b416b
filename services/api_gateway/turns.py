"""Whose turn it is: what was said since the last question, and whether somebody speaks over an answer."""

from __future__ import annotations

import sys
from array import array
from typing import Any

BLOCK_MS = 20
FULL_SCALE = 32_768.0
SOONER_S = 0.05
"""A final may begin a little before the moment at which its speech was told to begin."""


class Question:
    """Made of the partials and finals of a live stream (shared/schemas/live.py), which come as plain objects."""

    def __init__(self) -> None:
        self._finals: list[str] = []
        self._open: dict[int, list[str]] = {}
        """The settled words of utterances without a final."""
        self._rest = ""
        self._since_s = 0.0

    @property
    def text(self) -> str:
        return " ".join(each for each in self._finals if each)

    @property
    def so_far(self) -> str:
        """With what is being said right now."""
        settled = [word for words in self._open.values() for word in words]
        return " ".join(each for each in (*self._finals, *settled, self._rest) if each)

    def partial(self, event: dict[str, Any]) -> bool:
        """True where it belongs to this question."""
        if event["start_s"] < self._since_s:
            return False
        self._open.setdefault(event["utterance"], []).append(event["settled"])
        self._rest = event["text"]
        return True

    def final(self, event: dict[str, Any]) -> bool:
        """Takes the place of the partials of its utterance. True where it belongs to this question."""
        if event["start_s"] < self._since_s:
            return False
        self._open.pop(event["utterance"], None)
        self._rest = ""
        self._finals.append(event["text"].strip())
        return True

    def clear(self, since_s: float | None = None) -> None:
        """Begins anew, with what is said from this second of the stream."""
        self._finals.clear()
        self._open.clear()
        self._rest = ""
        if since_s is not None:
            self._since_s = since_s - SOONER_S


class Gate:
    """How long the microphone has been loud, while the speech detector says that it is speech.

    A voice is loud with short breaks between its words, so quiet blocks take back what loud ones gave, half as fast.
    """

    def __init__(self, rate_hz: int, least_ms: int) -> None:
        self._block, self._least_ms = rate_hz * BLOCK_MS // 1000, least_ms
        self._held = b""
        self._loud_ms = 0.0
        self.speech = False
        """What the detector says."""

    @property
    def open(self) -> bool:
        """Somebody means to be heard."""
        return self.speech and self._loud_ms >= self._least_ms

    def feed(self, pcm: bytes, least_dbfs: float) -> None:
        """16-bit mono; loud is what has at least this level (RMS, dB of full scale)."""
        held, size = self._held + pcm, 2 * self._block
        whole = len(held) // size * size
        self._held = held[whole:]
        least = (FULL_SCALE * 10 ** (least_dbfs / 20)) ** 2 * self._block
        for at in range(0, whole, size):
            step = BLOCK_MS if _power(held[at : at + size]) >= least else -BLOCK_MS / 2
            self._loud_ms = min(max(0.0, self._loud_ms + step), 2.0 * self._least_ms)

    def reset(self) -> None:
        self._loud_ms = 0.0


def _power(pcm: bytes) -> int:
    """The sum of the squares. In plain Python some 2 ms for a second at 48 kHz, and the gateway stays without numpy."""
    samples = array("h", pcm)
    if sys.byteorder == "big":
        samples.byteswap()
    return sum(each * each for each in samples)
