"""Kaldi's log mel filter banks: what CAM++ hears."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.transcription.engines import Sound

RATE_HZ = 16_000
Floats = NDArray[np.float32]


def filter_banks(sound: Sound) -> Floats:
    """Kaldi's log mel filter banks, float32 [frames, 80], 25 ms every 10 ms, their mean taken away."""
    count = max(1, 1 + (len(sound) - 400) // 160)
    padded = np.pad(sound, (0, max(0, 400 - len(sound))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, 400)[::160][:count].astype(np.float64)
    frames = frames - frames.mean(axis=1, keepdims=True)
    frames = frames - 0.97 * np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    power = np.abs(np.fft.rfft(frames * _POVEY, 512, axis=1)) ** 2
    banks = np.log(np.maximum(power[:, :256] @ _MEL.T, np.finfo(np.float32).eps))
    return np.asarray(banks - banks.mean(axis=0), dtype=np.float32)


def _mel_banks() -> NDArray[np.float64]:
    """[80, 256] triangles, equally wide on Kaldi's mel scale from 20 Hz to 8 kHz."""

    def mel(hz: NDArray[np.float64]) -> NDArray[np.float64]:
        return 1127.0 * np.log1p(hz / 700.0)

    low, high = mel(np.array([20.0, 8_000.0]))
    edges = low + (high - low) / 81 * np.arange(82)
    at = mel(np.arange(256) * RATE_HZ / 512)
    up = (at - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    down = (edges[2:, None] - at) / (edges[2:] - edges[1:-1])[:, None]
    return np.asarray(np.maximum(0.0, np.minimum(up, down)))


_POVEY = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 399)) ** 0.85
_MEL = _mel_banks()
