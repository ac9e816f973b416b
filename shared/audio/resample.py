"""Bare samples from one rate to another, whole or as a stream, by FFmpeg's resampler."""

from __future__ import annotations

import av
import numpy as np

from shared.audio.decode import RATE_HZ, Samples

_LAYOUTS = {1: "mono", 2: "stereo"}


class Resampler:
    """A stream of interleaved int16 samples to 16 kHz. One for each stream."""

    def __init__(self, rate_hz: int, channels: int) -> None:
        """`channels`: 1 or 2."""
        self._rate_hz, self._channels = rate_hz, channels
        self._made = 0
        self._resampler = (
            None if rate_hz == RATE_HZ else av.AudioResampler(format="s16", layout=_LAYOUTS[channels], rate=RATE_HZ)
        )

    def feed(self, samples: Samples) -> Samples:
        """int16 [n, channels] to int16 [m, channels]; what the filter holds back comes with the next."""
        if self._resampler is None or not len(samples):
            return samples
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples).reshape(1, -1), format="s16", layout=_LAYOUTS[self._channels]
        )
        frame.sample_rate, frame.pts = self._rate_hz, self._made
        self._made += len(samples)
        return self._joined(self._resampler.resample(frame))

    def finish(self) -> Samples:
        """What the filter still holds."""
        return self._joined(self._resampler.resample(None) if self._resampler is not None else [])

    def _joined(self, frames: list[av.AudioFrame]) -> Samples:
        found = [each.to_ndarray().reshape(-1, self._channels) for each in frames]
        return np.concatenate(found) if found else np.zeros((0, self._channels), dtype=np.int16)


def resampled(samples: Samples, rate_hz: int) -> Samples:
    """int16 [n, channels] at `rate_hz` to int16 [m, channels] at 16 kHz."""
    resampler = Resampler(rate_hz, samples.shape[1])
    return np.concatenate([resampler.feed(samples), resampler.finish()])
