"""What the channels of a recording are: one voice copied, or one speaker each, with or without the others' bleed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shared.audio.decode import RATE_HZ, Samples
from shared.audio.tracks import Mixed, Track, minutes
from shared.schemas.transcription import Notice, Segment

Levels = NDArray[np.float32]
DUAL_MONO = 0.98
"""Correlation above which two channels are one signal."""
SAME_GAIN_DB, ODD_SHARE = 3.0, 0.02
"""Copies differ by one gain throughout: so little may it vary, and only in so few half-seconds more than that.

Without this two voices that bleed into each other's channel would be copies: whoever speaks alone correlates fully."""
SEPARATE = 0.5
"""Mean correlation of loud half-seconds below which two channels carry different voices."""
SILENT = 33.0
"""Loudest half-second (RMS of 16 bits, -60 dBFS) below which nothing is to be heard in a channel."""
LOUD_SHARE = 0.1
"""Of the loudest half-second: what is quieter is the room, not a voice."""


def split(channels: Sequence[Track], wanted: str) -> tuple[list[Track], list[Notice]]:
    """The signals to transcribe, each [n]: one for mono, one a channel for separate; and what a reader should know.

    Blocking where the tracks are on disk.
    """
    if len(channels) == 1:
        return list(channels), []
    if len(channels) == 2 and copies(channels[0], channels[1]):
        # One of the two, not their mean: a copy of inverted polarity would cancel the voice.
        detail = "Both channels carry the same sound, so the recording was treated as mono."
        notices = [] if wanted == "mono" else [Notice(code="dual_mono_detected", detail=detail)]
        return [max(channels, key=_level)], notices
    alike = correlation(channels[0], channels[1]) if wanted == "auto" and len(channels) == 2 else 1.0
    if wanted == "separate" or (alike < SEPARATE and _both_speak(channels)):
        return list(channels), _silent(channels)
    return [Mixed(channels)], []


def copies(left: Track, right: Track) -> bool:
    """True where one channel is the other times a constant, which may be negative."""
    measured = [_correlations(a, b) for a, b in minutes(left, right)]
    energy, alike, gain_db = (np.concatenate(each) for each in zip(*measured, strict=True))
    loud = _loud(energy)
    if not loud.any():  # too quiet or too short to tell: only what is surely the same loses a channel
        return all(np.array_equal(a, b) for a, b in minutes(left, right))
    odd = np.abs(gain_db[loud] - np.median(gain_db[loud])) > SAME_GAIN_DB
    return bool(alike[loud].mean() >= DUAL_MONO and odd.mean() <= ODD_SHARE)


def correlation(left: Track, right: Track) -> float:
    """Mean absolute correlation of the half-seconds in which anything is to be heard; 1 is the same signal."""
    measured = [_correlations(a, b) for a, b in minutes(left, right)]
    energy, alike, _ = (np.concatenate(each) for each in zip(*measured, strict=True))
    loud = _loud(energy)
    return float(alike[loud].mean()) if loud.any() else 1.0


def _frames(signal: Samples) -> Levels:
    size = RATE_HZ // 2
    return signal[: len(signal) // size * size].reshape(-1, size).astype(np.float32)


def _loud(energy: Levels) -> NDArray[np.bool_]:
    return energy > max(SILENT, LOUD_SHARE * float(energy.max(initial=0.0)))


def _correlations(left: Samples, right: Samples) -> tuple[Levels, Levels, Levels]:
    """Loudness and absolute correlation of each half-second, and by how many dB left is louder."""
    a, b = _frames(left), _frames(right)
    energy = np.maximum(a.std(axis=1), b.std(axis=1))
    gain_db = 20 * np.log10((a.std(axis=1) + 1e-3) / (b.std(axis=1) + 1e-3))
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    scale = np.sqrt((a**2).sum(1) * (b**2).sum(1)) + 1e-9
    return energy, np.abs((a * b).sum(1) / scale), gain_db


def _both_speak(channels: Sequence[Track]) -> bool:
    """Neither channel is near silence beside the other."""
    levels = [_level(signal) for signal in channels]
    return min(levels) > 0.05 * max(levels)


def _level(signal: Track) -> float:
    squares = [float(np.square(minute, dtype=np.float32).sum()) for (minute,) in minutes(signal)]
    return float(np.sqrt(sum(squares) / max(1, len(signal))))


def stretches(signal: Track, spoken: Sequence[Segment], most_s: float) -> Samples:
    """The sound under the segments, one after the other, up to `most_s` seconds."""
    parts, left = [signal[0:0]], int(most_s * RATE_HZ)
    for each in spoken:
        start, end = int(each.start_s * RATE_HZ), int(each.end_s * RATE_HZ)
        parts.append(signal[start : min(end, start + left)])
        left -= len(parts[-1])
        if left <= 0:
            break
    return np.concatenate(parts)


def _silent(channels: Sequence[Track]) -> list[Notice]:
    quiet = [at for at, signal in enumerate(channels) if _loudest(signal) < SILENT]
    return [
        Notice(code="silent_channel", detail=f"Nothing is to be heard in channel {at + 1}, so it has no words.")
        for at in quiet
    ]


def _loudest(signal: Track) -> float:
    """RMS of the loudest half-second."""
    found = [_frames(minute).std(axis=1).max(initial=0.0) for (minute,) in minutes(signal)]
    return float(max(found, default=0.0))


def labels(count: int, given: str | None) -> tuple[dict[str, str], list[Notice]]:
    """Name by label of each channel; names that do not fit the channels are not worth losing the transcript for."""
    names = [name.strip()[:100] for name in given.split(",")] if given else []
    fallback = ["left", "right"] if count == 2 else [f"channel {at + 1}" for at in range(count)]
    notices = []
    if names and len(names) != count:
        detail = f"channel_labels has {len(names)} names for {count} channels, so it was not used."
        notices, names = [Notice(code="channel_labels_ignored", detail=detail)], []
    chosen = [name or fallback[at] for at, name in enumerate(names)] or fallback
    return {f"SPEAKER_{at:02d}": name for at, name in enumerate(chosen)}, notices
