"""Waveforms: a sound as its outline, and the outline at as many points as somebody wants to draw."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.audio.decode import RATE_HZ
from shared.audio.outline import Outline
from shared.audio.tracks import Track, minutes


@dataclass(frozen=True)
class Peaks:
    """The outline of a whole sound."""

    values: NDArray[np.int16]
    """int16 [stretches, channels, 2], lowest and highest."""
    samples: int
    """Of one channel at 16 kHz."""
    stretch_samples: int

    @property
    def duration_s(self) -> float:
        return self.samples / RATE_HZ

    @property
    def channels(self) -> int:
        return int(self.values.shape[1])

    def at(self, points: int) -> list[list[float]]:
        """Per channel `lowest, highest, lowest, ...` in [-1, 1], of that many points or as many as there are.

        A point covers each stretch that it touches, so no peak is lost between two.
        """
        stretches = len(self.values)
        count = min(points, stretches)
        edges = np.linspace(0, stretches, count + 1)
        begins, ends = np.floor(edges[:-1]).astype(int), np.ceil(edges[1:]).astype(int)
        between = np.stack((begins, ends), axis=1).ravel()  # what `reduceat` makes of every second pair is not wanted
        padded = np.concatenate((self.values, self.values[-1:]))
        lowest = np.minimum.reduceat(padded[..., 0], between)[::2]
        highest = np.maximum.reduceat(padded[..., 1], between)[::2]
        found = np.stack((lowest, highest), axis=2) / 32768.0
        scaled: list[list[float]] = found.round(4).transpose(1, 0, 2).reshape(self.channels, -1).tolist()
        return scaled

    def pack(self) -> bytes:
        head = {"channels": self.channels, "samples": self.samples, "stretch_samples": self.stretch_samples}
        return json.dumps(head).encode() + b"\n" + zlib.compress(self.values.astype("<i2").tobytes(), 6)

    @classmethod
    def unpack(cls, packed: bytes) -> Peaks:
        head, _, body = packed.partition(b"\n")
        return cls.of_raw(json.loads(head), zlib.decompress(body))

    @classmethod
    def of_raw(cls, facts: dict[str, int], raw: bytes) -> Peaks:
        values = np.frombuffer(raw, dtype="<i2").reshape(-1, facts["channels"], 2)
        return cls(values, facts["samples"], facts["stretch_samples"])


def peaks_of(channels: Sequence[Track]) -> Peaks:
    """Of decoded sound, one track a channel; blocking."""
    outline = Outline(len(channels))
    for portion in minutes(*channels):
        outline.feed(np.stack(portion, axis=1))
    return Peaks(outline.finish(), outline.samples, outline.stretch_samples)
