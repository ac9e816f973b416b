"""How each segment was said: its sound is measured in stretches, then all are judged beside their speaker's others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import numpy as np

from shared.audio.decode import RATE_HZ
from shared.audio.tracks import Track
from shared.auth.principal import Principal
from shared.clients.emotion import EmotionClient
from shared.schemas.emotion import MOST_SEGMENTS, MeasureSpan, SpokenSegment
from shared.schemas.transcription import Segment, SpanEmotion, SpanMetrics

STRETCH_S = 120.0
"""Sound that is sent at once."""
LONGEST_S = 60.0
"""Of one segment that is measured; more of it says little more."""
MOST_SPANS = 500
MOST_CHARS = 20_000
"""Of one text, as the emotion service takes it."""
Patience = Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]


async def felt(
    client: EmotionClient, user: Principal, signals: Sequence[Track], segments: Sequence[Segment], patiently: Patience
) -> tuple[list[SpanEmotion], str]:
    """One emotion per segment, and the name of the model. `patiently` waits for a service that starts anew."""
    metrics: list[SpanMetrics | None] = [None] * len(segments)
    for channel, signal in enumerate(signals):
        mine = [at for at, each in enumerate(segments) if len(signals) == 1 or each.channel == channel]
        for stretch in _stretches(segments, mine):
            pcm, spans = _sound(signal, [segments[at] for at in stretch])
            found = await patiently(lambda p=pcm, s=spans: client.measure(user, p, s))  # type: ignore[misc]
            for at, measured in zip(stretch, found, strict=True):
                metrics[at] = measured
    spoken = [
        SpokenSegment(text=each.text[:MOST_CHARS], speaker=each.speaker, metrics=measured)
        for each, measured in zip(segments, metrics, strict=True)
    ]
    emotions, model = list[SpanEmotion](), ""
    for at in range(0, len(spoken), MOST_SEGMENTS):
        answer = await patiently(lambda some=spoken[at : at + MOST_SEGMENTS]: client.speech(user, some))  # type: ignore[misc]
        emotions, model = emotions + answer.emotions, answer.model
    return emotions, model


def _stretches(segments: Sequence[Segment], mine: Sequence[int]) -> Iterator[list[int]]:
    """Neighbours, together no longer than a stretch."""
    stretch: list[int] = []
    for at in mine:
        begin = segments[stretch[0]].start_s if stretch else 0.0
        if stretch and (segments[at].end_s - begin > STRETCH_S or len(stretch) >= MOST_SPANS):
            yield stretch
            stretch = []
        stretch.append(at)
    if stretch:
        yield stretch


def _sound(signal: Track, segments: Sequence[Segment]) -> tuple[bytes, list[MeasureSpan]]:
    """The samples from the first to the last of them, and where each lies in these."""
    begin = min(each.start_s for each in segments)
    ends = [min(each.end_s, each.start_s + LONGEST_S) for each in segments]
    samples = signal[int(begin * RATE_HZ) : int(max(ends) * RATE_HZ)]
    spans = [
        MeasureSpan(start_s=each.start_s - begin, end_s=max(end, each.start_s) - begin, words=len(each.words))
        for each, end in zip(segments, ends, strict=True)
    ]
    return np.ascontiguousarray(samples, dtype="<i2").tobytes(), spans
