"""The outline of a sound: the lowest and the highest sample of each stretch, in memory that does not grow with it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FIRST_SAMPLES = 16
"""Length of a stretch to begin with: a millisecond at 16 kHz."""
MOST = 65_536
"""Stretches kept; once there are so many, two become one, so there are at least half as many of a long sound."""


class Outline:
    """Feed it samples in any portions. 262 KB a channel, whatever the length."""

    def __init__(self, channels: int) -> None:
        self.channels = channels
        self.stretch_samples = FIRST_SAMPLES
        self.samples = 0
        self._kept = np.zeros((MOST, channels, 2), dtype=np.int16)
        self._count = 0
        self._rest = np.zeros((0, channels), dtype=np.int16)

    def feed(self, samples: NDArray[np.int16]) -> None:
        """int16 [n, channels]."""
        self.samples += len(samples)
        data = np.concatenate((self._rest, samples))
        at = 0
        while len(data) - at >= self.stretch_samples:
            if self._count == MOST:
                self._halve()
                continue
            fits = min((len(data) - at) // self.stretch_samples, MOST - self._count)
            end = at + fits * self.stretch_samples
            self._add(data[at:end].reshape(fits, self.stretch_samples, self.channels))
            at = end
        self._rest = data[at:].copy()

    def _add(self, stretches: NDArray[np.int16]) -> None:
        into = self._kept[self._count : self._count + len(stretches)]
        stretches.min(axis=1, out=into[:, :, 0])
        stretches.max(axis=1, out=into[:, :, 1])
        self._count += len(stretches)

    def _halve(self) -> None:
        pairs = self._kept.reshape(MOST // 2, 2, self.channels, 2)
        self._kept[: MOST // 2, :, 0], self._kept[: MOST // 2, :, 1] = (
            pairs[..., 0].min(axis=1),
            pairs[..., 1].max(axis=1),
        )
        self._count = MOST // 2
        self.stretch_samples *= 2

    def finish(self) -> NDArray[np.int16]:
        """int16 [stretches, channels, 2], lowest and highest; the last stretch may be shorter."""
        if len(self._rest):
            if self._count == MOST:
                self._halve()
            self._add(self._rest[np.newaxis])
            self._rest = self._rest[:0]
        return self._kept[: self._count]
