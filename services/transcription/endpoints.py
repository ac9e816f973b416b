"""Where an utterance begins and ends in a stream, by the probabilities of a speech detector.

The two thresholds with hysteresis are those of Silero's own iterator. An utterance may end in an ever shorter pause the
longer it is, and is cut at the least likely moment before a model's window of 30 s is full.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

CHUNK = 512
"""Samples of each probability, 32 ms at 16 kHz."""
RATE_HZ = 16_000
BEGINS, GOES_ON = 0.5, 0.35
BEFORE, AFTER = 10, 6
"""Chunks taken along before and after what was heard as speech."""
LEAST = 5
"""Chunks of speech below which it was none (160 ms)."""
PAUSE, SHORT_PAUSE = 17, 6
"""Chunks of silence that end an utterance (544 ms), and one that is long already (192 ms)."""
LONG, LONGEST = 12 * RATE_HZ // CHUNK, 26 * RATE_HZ // CHUNK
LOOK_BACK = 3 * RATE_HZ // CHUNK
"""Where the cut of an endless utterance is looked for."""


@dataclass(frozen=True)
class Utterance:
    """Samples `[start, end)` at 16 kHz in which somebody speaks."""

    start: int
    end: int


class Endpointer:
    """Feed it every probability of one channel in turn."""

    def __init__(self, first_sample: int = 0) -> None:
        self._at = self._floor = first_sample // CHUNK
        """The next chunk; the first that belongs to no utterance yet."""
        self._start: int | None = None
        self._spoken = self._quiet = 0
        self._recent: deque[float] = deque(maxlen=LOOK_BACK)

    @property
    def open(self) -> Utterance | None:
        """What is being spoken right now."""
        if self._start is None or self._spoken < LEAST:
            return None
        return Utterance(self._start * CHUNK, self._at * CHUNK)

    @property
    def settled(self) -> int:
        """Sample before which nothing can become part of a later utterance."""
        return (self._start if self._start is not None else max(self._floor, self._at - BEFORE)) * CHUNK

    def feed(self, probabilities: Iterable[float]) -> list[Utterance]:
        """The utterances that ended."""
        return [ended for each in probabilities if (ended := self._step(each)) is not None]

    def _step(self, probability: float) -> Utterance | None:
        self._at += 1
        if self._start is None:
            if probability >= BEGINS:
                self._start = max(self._floor, self._at - 1 - BEFORE)
                self._spoken, self._quiet = 1, 0
                self._recent.clear()
            return None
        self._recent.append(probability)
        if probability >= GOES_ON:
            self._spoken, self._quiet = self._spoken + 1, 0
        else:
            self._quiet += 1
        length = self._at - self._start
        if self._quiet >= (SHORT_PAUSE if length > LONG else PAUSE):
            return self._ended(self._at - self._quiet + min(AFTER, self._quiet))
        return self._cut() if length >= LONGEST else None

    def _ended(self, end: int) -> Utterance | None:
        start, spoken = self._start, self._spoken
        self._start = None
        if start is None or spoken < LEAST:
            return None
        self._floor = end
        return Utterance(start * CHUNK, end * CHUNK)

    def _cut(self) -> Utterance | None:
        """At the least likely moment; what follows it begins the next one at once."""
        values = list(self._recent)
        back = len(values) - min(range(len(values)), key=lambda at: (values[at], -at))
        ended = self._ended(self._at - back)
        self._start, self._spoken, self._quiet = self._at - back, LEAST, 0
        return ended

    def flush(self) -> Utterance | None:
        """Ends what is open; None where nobody was speaking."""
        return self._ended(self._at)
