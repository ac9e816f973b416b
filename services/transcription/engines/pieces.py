"""Where somebody speaks, in pieces short enough for a model that hears a limited time at once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from faster_whisper.vad import VadOptions, get_speech_timestamps

from services.transcription.engines import Sound

RATE_HZ = 16_000
PAUSE_MS = 300
STEP = RATE_HZ // 100
"""Samples between two places where speech may be cut."""
QUIET = 12
"""Steps, 120 ms: over so long the sound has to be quiet. The closure of a plosive is shorter, a pause longer."""


def spoken(sound: Sound, most_s: float) -> list[tuple[int, int]]:
    """Sample ranges with speech, none longer than `most_s`; by Silero's detector, all that it found."""
    if not len(sound):
        return []
    stretches = get_speech_timestamps(sound)
    return [piece for each in stretches for piece in _cut(sound, each["start"], each["end"], int(most_s * RATE_HZ))]


def pauses(sound: Sound) -> list[tuple[float, float]]:
    """Stretches without speech, in seconds."""
    found = get_speech_timestamps(sound, VadOptions(min_silence_duration_ms=PAUSE_MS)) if len(sound) else []
    edges = [0, *(at for each in found for at in (each["start"], each["end"])), len(sound)]
    return [(a / RATE_HZ, b / RATE_HZ) for a, b in zip(edges[::2], edges[1::2], strict=True) if b > a]


def _cut(sound: Sound, begin: int, end: int, most: int) -> Iterator[tuple[int, int]]:
    """Every piece is at least a third of `most`, so that no word stands without its context."""
    while end - begin > most:
        latest = min(begin + most, end - most // 3)
        at = quietest(sound, begin + most // 3, latest)
        yield begin, at
        begin = at
    yield begin, end


def quietest(sound: Sound, begin: int, end: int) -> int:
    """The sample in [begin, end) around which there is least sound; the latest of equals."""
    first = begin - QUIET // 2 * STEP
    around = sound[max(0, first) : end + QUIET // 2 * STEP]
    energy = np.square(around[: len(around) // STEP * STEP].reshape(-1, STEP), dtype=np.float64).sum(axis=1)
    levels = np.convolve(energy, np.ones(QUIET), mode="valid")[::-1]
    step = len(levels) - 1 - int(levels.argmin())
    return max(0, first) + (step + QUIET // 2) * STEP
