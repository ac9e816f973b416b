"""The emotion service as others see it."""

from __future__ import annotations

from collections.abc import Sequence

import aiohttp

from shared.auth.principal import Principal
from shared.clients import ServiceClient
from shared.schemas.emotion import (
    MEASURE_SPANS,
    EmotionAnalysis,
    EmotionBatch,
    MeasureSpan,
    SpansMeasured,
    SpeechEmotion,
    SpokenSegment,
)
from shared.schemas.transcription import SpanMetrics


class EmotionClient(ServiceClient):
    service = "emotion"

    async def batch(self, user: Principal, texts: Sequence[str]) -> EmotionBatch:
        """One analysis per text; at most 256 texts of 20,000 characters."""
        body = {"texts": list(texts)}
        return EmotionBatch.model_validate(
            await self.json("POST", "/emotion/batch", user=user, body=body, deadline_s=120)
        )

    async def analyze(self, user: Principal, text: str) -> EmotionAnalysis:
        found = await self.json("POST", "/emotion/analyze", user=user, body={"text": text})
        return EmotionAnalysis.model_validate(found)

    async def measure(self, user: Principal, pcm: bytes, spans: Sequence[MeasureSpan]) -> list[SpanMetrics]:
        """How each span sounded. `pcm` is s16le, mono, 16 kHz, at most MOST_PCM_S seconds; at most MOST_SPANS spans."""
        form = aiohttp.FormData()
        form.add_field("spans", MEASURE_SPANS.dump_json(list(spans)).decode(), content_type="application/json")
        form.add_field("pcm", pcm, filename="pcm", content_type="application/octet-stream")
        path = "/emotion/measure"
        async with self.stream("POST", path, user=user, content=form, deadline_s=120) as answer:
            return SpansMeasured.model_validate_json(await answer.read()).metrics

    async def speech(self, user: Principal, segments: Sequence[SpokenSegment]) -> SpeechEmotion:
        """One emotion per segment; all segments of a recording in one call, at most MOST_SEGMENTS."""
        body = {"segments": [each.model_dump() for each in segments]}
        return SpeechEmotion.model_validate(
            await self.json("POST", "/emotion/speech", user=user, body=body, deadline_s=600)
        )
