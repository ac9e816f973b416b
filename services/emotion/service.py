"""Emotion of texts, and of files by way of what was said in them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from services.emotion.engines import EmotionEngine
from services.emotion.prosody import measure
from services.emotion.settings import Settings
from shared.audio.decode import DecodeLimits, as_float, decode
from shared.auth.principal import Principal
from shared.clients.transcription import TranscriptionClient
from shared.schemas.emotion import EmotionAnalysis, EmotionBatch, EmotionScore, SegmentEmotion


class Feelings:
    """One model in one thread."""

    def __init__(self, settings: Settings, engine: EmotionEngine, transcription: TranscriptionClient | None) -> None:
        self._settings, self._engine, self._transcription = settings, engine, transcription
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="emotion")

    async def scores(self, texts: Sequence[str]) -> list[list[EmotionScore]]:
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._engine.analyze, texts)

    async def text(self, text: str) -> EmotionAnalysis:
        return EmotionAnalysis(emotions=(await self.scores([text]))[0], text=text)

    async def batch(self, texts: Sequence[str]) -> EmotionBatch:
        scores = await self.scores(texts)
        results = [EmotionAnalysis(emotions=each, text=text) for each, text in zip(scores, texts, strict=True)]
        return EmotionBatch(results=results, model=self._engine.capabilities.model)

    async def file(self, user: Principal, data: bytes) -> EmotionAnalysis:
        """Raises AudioUnreadable, or UpstreamUnavailable where nobody can tell what was said."""
        assert self._transcription is not None
        sound = await decode(data, limits=DecodeLimits(max_s=self._settings.max_clip_s))
        heard = await self._transcription.clip(user, data)
        spoken = [each for each in heard.segments if each.text]
        scores = await self.scores([heard.text or " ", *(each.text for each in spoken)])
        words = sum(len(each.words) for each in spoken)
        metrics = await asyncio.to_thread(measure, as_float(sound.mono()), words)
        segments = [
            SegmentEmotion(start_s=each.start_s, end_s=each.end_s, text=each.text, emotions=score)
            for each, score in zip(spoken, scores[1:], strict=True)
        ]
        return EmotionAnalysis(emotions=scores[0], text=heard.text, audio_metrics=metrics, segments=segments)
