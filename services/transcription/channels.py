"""What the channels of a recording are: one voice copied, or one speaker each."""

from __future__ import annotations

import numpy as np

from shared.audio.decode import RATE_HZ, Samples
from shared.errors import Invalid
from shared.schemas.transcription import Notice

DUAL_MONO = 0.98
"""Correlation above which two channels are one signal."""
SEPARATE = 0.5
"""Mean correlation of loud half-seconds below which two channels carry different voices."""


def split(samples: Samples, wanted: str) -> tuple[list[Samples], list[Notice]]:
    """The signals to transcribe, each [n]: one for mono, one a channel for separate; and what a reader should know."""
    channels = samples.shape[0]
    if channels == 1 or wanted == "mono":
        return [_mixed(samples)], []
    alike = correlation(samples[0], samples[1])
    if alike >= DUAL_MONO:
        detail = "Both channels carry the same sound, so the recording was treated as mono."
        return [_mixed(samples)], [Notice(code="dual_mono_detected", detail=detail)] if wanted == "separate" else []
    if wanted == "separate" or (channels == 2 and alike < SEPARATE and _both_speak(samples)):
        return [samples[at] for at in range(channels)], []
    return [_mixed(samples)], []


def _mixed(samples: Samples) -> Samples:
    mixed: Samples = samples[0] if samples.shape[0] == 1 else samples.mean(axis=0).astype(np.int16)
    return mixed


def _frames(signal: Samples) -> np.ndarray:
    size = RATE_HZ // 2
    return signal[: len(signal) // size * size].reshape(-1, size).astype(np.float32)


def correlation(left: Samples, right: Samples) -> float:
    """Mean absolute correlation of the half-seconds in which anything is to be heard; 1 is the same signal."""
    a, b = _frames(left), _frames(right)
    energy = np.maximum(a.std(axis=1), b.std(axis=1))
    loud = energy > max(50.0, 0.1 * float(energy.max(initial=0.0)))
    if not loud.any():
        return 1.0
    a, b = a[loud] - a[loud].mean(1, keepdims=True), b[loud] - b[loud].mean(1, keepdims=True)
    scale = np.sqrt((a**2).sum(1) * (b**2).sum(1)) + 1e-9
    return float(np.abs((a * b).sum(1) / scale).mean())


def _both_speak(samples: Samples) -> bool:
    levels = samples.astype(np.float32).std(axis=1)
    return bool(levels.min() > 0.05 * levels.max())


def labels(count: int, given: str | None) -> dict[str, str]:
    """Name by label of each channel. Raises Invalid where not every channel got one."""
    names = [name.strip()[:100] for name in given.split(",")] if given else []
    if names and len(names) != count:
        raise Invalid(f"channel_labels has {len(names)} names for {count} channels.")
    fallback = ["left", "right"] if count == 2 else [f"channel {at + 1}" for at in range(count)]
    return {f"SPEAKER_{at:02d}": name or fallback[at] for at, name in enumerate(names or fallback)}
