"""Bare samples to 16 kHz: length, pitch and channels stay what they were."""

from __future__ import annotations

import numpy as np
import pytest

from shared.audio.resample import Resampler, resampled


def tone(rate_hz: int, *hertz: float, seconds: float = 2.0) -> np.ndarray:
    at = np.arange(int(rate_hz * seconds)) / rate_hz
    return (np.stack([np.sin(2 * np.pi * each * at) for each in hertz], axis=1) * 12_000).astype(np.int16)


def pitch_of(signal: np.ndarray) -> float:
    return float(np.abs(np.fft.rfft(signal.astype(float))).argmax() * 16_000 / len(signal))


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("hertz", [(440.0,), (300.0, 1_000.0)])
def test_length_pitch_and_channels(rate_hz: int, hertz: tuple[float, ...]) -> None:
    found = resampled(tone(rate_hz, *hertz), rate_hz)
    assert abs(len(found) - 32_000) <= 16 and found.shape[1] == len(hertz)
    for channel, each in enumerate(hertz):
        assert abs(pitch_of(found[:, channel]) - each) < 2


def test_a_stream_in_pieces_is_the_whole() -> None:
    samples = tone(44_100, 440.0)
    stream = Resampler(44_100, 1)
    pieces = [stream.feed(samples[at : at + 1_234]) for at in range(0, len(samples), 1_234)]
    assert np.array_equal(np.concatenate([*pieces, stream.finish()]), resampled(samples, 44_100))
