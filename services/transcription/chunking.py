"""Long recordings in pieces: where they are cut, and how the pieces are put together again."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import numpy as np

from services.transcription.engines import Sound
from shared.audio.decode import RATE_HZ, as_float
from shared.audio.tracks import Track
from shared.schemas.transcription import Segment

LOOK_S = 15.0
"""How far from the ideal place a pause is looked for."""
Pauses = Callable[[Sound], Awaitable[list[tuple[float, float]]]]
"""Stretches without speech in a sound, in seconds."""


def most_spoken(parts: Sequence[Mapping[str, Any]]) -> str | None:
    """The language of most of the text; silence has none to say."""
    count: Counter[str] = Counter()
    for part in parts:
        count[part["language"]] += sum(len(each["text"]) for each in part["segments"])
    return count.most_common(1)[0][0] if count else None


async def cuts(pauses: Pauses, signal: Track, chunk_s: float) -> list[tuple[int, int]]:
    """Sample ranges of about `chunk_s`, cut in pauses so that no word is halved."""
    total, chunk = len(signal), int(chunk_s * RATE_HZ)
    found, begin = [], 0
    while total - begin > 1.5 * chunk:
        end = await _pause_near(pauses, signal, begin + chunk, min(int(LOOK_S * RATE_HZ), chunk // 2))
        found.append((begin, end))
        begin = end
    return [*found, (begin, total)]


async def _pause_near(pauses: Pauses, signal: Track, goal: int, reach: int) -> int:
    """The middle of the nearest pause; where nobody stops to breathe, the quietest moment."""
    window = await asyncio.to_thread(signal.__getitem__, slice(goal - reach, goal + reach))
    middles = [int((start + end) / 2 * RATE_HZ) for start, end in await pauses(as_float(window))]
    if middles:
        return goal - reach + min(middles, key=lambda at: abs(at - reach))
    size = RATE_HZ // 20
    levels = np.abs(as_float(window[: len(window) // size * size]).reshape(-1, size)).mean(axis=1)
    return goal - reach + int(levels.argmin()) * size + size // 2


def moved(segment: Segment, offset_s: float, channel: int) -> Segment:
    """The segment as it lies in the whole recording, under the label of its channel."""
    words = [
        word.model_copy(update={"start_s": round(word.start_s + offset_s, 3), "end_s": round(word.end_s + offset_s, 3)})
        for word in segment.words
    ]
    return segment.model_copy(
        update={
            "start_s": round(segment.start_s + offset_s, 3),
            "end_s": round(segment.end_s + offset_s, 3),
            "channel": channel,
            "speaker": f"SPEAKER_{channel:02d}",
            "words": words,
        }
    )
