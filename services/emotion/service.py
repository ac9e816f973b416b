"""Emotion of texts, and of files by way of what was said in them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from services.emotion.engines import EmotionEngine
from services.emotion.fusion import emotions_of
from services.emotion.prosody import measure, measure_spans
from services.emotion.settings import Settings
from shared.audio.decode import Decoded, DecodeLimits, Samples, as_float, decode
from shared.auth.principal import Principal
from shared.clients.transcription import TranscriptionClient
from shared.errors import UpstreamUnavailable
from shared.schemas.emotion import (
    EmotionAnalysis,
    EmotionBatch,
    EmotionScore,
    MeasureSpan,
    SegmentEmotion,
    SpansMeasured,
    SpeechEmotion,
    SpokenSegment,
)
from shared.schemas.transcription import ClipTranscript, Segment

TURN = 8
"""Texts that one request may keep the model for before the next request has its turn."""
BODIES = 8
"""Files that are in memory at once, and as many measurements; the others wait with their bodies unread."""


class Feelings:
    """One model in one thread."""

    def __init__(self, settings: Settings, engine: EmotionEngine, transcription: TranscriptionClient | None) -> None:
        """Without `transcription` there is no emotion of files."""
        self._engine, self._transcription = engine, transcription
        self._limits = DecodeLimits(max_s=settings.max_clip_s)
        self._clips = asyncio.Semaphore(settings.clips_at_once)
        # Apart, so that users' slow files do not keep the recordings' measurements waiting.
        self.files, self.measurements = asyncio.Semaphore(BODIES), asyncio.Semaphore(BODIES)
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="emotion")

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    async def scores(self, texts: Sequence[str]) -> list[list[EmotionScore]]:
        """All seven scores of every text, in the order given."""
        loop, found = asyncio.get_running_loop(), []
        for at in range(0, len(texts), TURN):
            found += await loop.run_in_executor(self._pool, self._engine.analyze, texts[at : at + TURN])
        return found

    async def text(self, text: str) -> EmotionAnalysis:
        return EmotionAnalysis(emotions=(await self.scores([text]))[0], text=text)

    async def batch(self, texts: Sequence[str]) -> EmotionBatch:
        scores = await self.scores(texts)
        results = [EmotionAnalysis(emotions=each, text=text) for each, text in zip(scores, texts, strict=True)]
        return EmotionBatch(results=results, model=self._engine.capabilities.model)

    async def file(self, user: Principal, data: bytes) -> EmotionAnalysis:
        """Raises AudioUnreadable, AudioTooLong, or UpstreamUnavailable where nobody can tell what was said."""
        if self._transcription is None:
            raise UpstreamUnavailable("There is no transcription service to say what was spoken.")
        async with self._clips:
            sound = await decode(data, limits=self._limits)
            return await self._analysis(sound, await self._transcription.clip(user, data))

    async def spans(self, samples: Samples, spans: Sequence[MeasureSpan]) -> SpansMeasured:
        """`samples` int16 [n], mono, 16 kHz."""
        async with self._clips:
            return SpansMeasured(metrics=await asyncio.to_thread(measure_spans, samples, spans))

    async def speech(self, segments: Sequence[SpokenSegment]) -> SpeechEmotion:
        """All segments of one recording: each voice is compared with itself."""
        texts = [each.text for each in segments]
        scores = await self.scores(texts)
        speakers, metrics = [each.speaker for each in segments], [each.metrics for each in segments]
        found = await asyncio.to_thread(emotions_of, scores, texts, speakers, metrics)
        return SpeechEmotion(emotions=[emotion for _, emotion in found], model=self._engine.capabilities.model)

    async def _analysis(self, sound: Decoded, heard: ClipTranscript) -> EmotionAnalysis:
        """A clip's speakers are not told apart: it is compared with itself as if one person spoke."""
        spoken = [each for each in heard.segments if each.text.strip()]
        texts = [each.text for each in spoken]
        whole, *scores = await self.scores([heard.text, *texts])
        metrics = await asyncio.to_thread(measure, as_float(sound.mono()), sum(map(_words_in, spoken)))
        spans = [MeasureSpan(start_s=each.start_s, end_s=each.end_s, words=_words_in(each)) for each in spoken]
        measured = await asyncio.to_thread(measure_spans, sound.mono(), spans)
        found = emotions_of(scores, texts, [each.speaker for each in spoken], measured)
        segments = [
            SegmentEmotion(
                start_s=each.start_s,
                end_s=each.end_s,
                text=each.text,
                emotions=fused,
                confidence=emotion.confidence,
                agreement=emotion.agreement,
                metrics=emotion.metrics,
            )
            for each, (fused, emotion) in zip(spoken, found, strict=True)
        ]
        return EmotionAnalysis(emotions=whole, text=heard.text, audio_metrics=metrics, segments=segments)


def _words_in(segment: Segment) -> int:
    """Not every speech engine tells the words apart."""
    return len(segment.words) or len(segment.text.split())
