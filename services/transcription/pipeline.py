"""From stored bytes to a transcript in the vault, in stages whose work is kept.

decode -> speech (in chunks, each saved) -> speakers -> emotion -> vault. A crash goes on from the last saved chunk; a
failed late stage costs a warning, never the transcript.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from services.transcription import channels as channel_split
from services.transcription.diarization import assign, speakers_of
from services.transcription.engines import Diarizer, SpeechEngine
from services.transcription.repository import Recording, Recordings
from services.transcription.settings import Settings
from shared.audio.decode import RATE_HZ, Decoded, DecodeLimits, Samples, as_float, decode
from shared.auth.principal import Principal
from shared.clients.emotion import EmotionClient
from shared.clients.rag import RagClient
from shared.errors import NotFound, ProductError
from shared.gpu.worker import TaskContext
from shared.schemas.transcription import (
    Metadata,
    Models,
    Notice,
    Segment,
    SpanEmotion,
    Transcript,
)
from shared.storage.blobs import Blobs
from shared.storage.keyring import Keyring

log = logging.getLogger(__name__)
Result = TypeVar("Result")
BATCH = 128
SHARE = {"decode": 5.0, "speech": 80.0, "speakers": 88.0, "emotion": 95.0, "vault": 99.0}
"""Percent of the whole at the end of each stage, as it is on CPU where speech takes nearly all of the time."""


class Pipeline:
    """Runs the task `transcribe`. One speech model, used by one piece of work at a time."""

    def __init__(
        self,
        settings: Settings,
        engine: SpeechEngine,
        diarizer: Diarizer | None,
        recordings: Recordings,
        blobs: Blobs,
        keyring: Keyring,
        emotion: EmotionClient,
        rag: RagClient,
    ) -> None:
        self._settings, self.engine, self._diarizer = settings, engine, diarizer
        self._recordings, self._blobs, self._keyring = recordings, blobs, keyring
        self._emotion, self._rag = emotion, rag
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="speech")

    async def in_pool(self, work: Callable[..., Result], *args: Any, **kwargs: Any) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._pool, partial(work, *args, **kwargs))

    async def run(self, context: TaskContext) -> dict[str, Any]:
        """The task's handler. Raises what a user should read as the reason of failure."""
        recording_id, owner = context.task.payload["recording_id"], context.task.payload["owner"]
        recording = await self._recordings.get(recording_id, owner)
        try:
            transcript = await self._transcript(context, recording)
        except NotFound:
            raise
        except ProductError as error:
            if error.status < 500 or context.task.attempt >= 5:
                await self._recordings.set_status(recording_id, "failed", error.detail)
            raise
        await self._recordings.set_status(recording_id, "completed")
        await self._recordings.drop_parts(recording_id)
        return {"transcript_id": transcript.transcript_id}

    async def _transcript(self, context: TaskContext, recording: Recording) -> Transcript:
        began, options = time.monotonic(), recording.options
        await context.progress("decode", 1)
        sound = await self._decoded(recording)
        signals, notices = channel_split.split(sound.samples, options["channels"])
        if sound.truncated:
            detail = "The file breaks off or is damaged; what could be decoded was transcribed."
            notices.append(Notice(code="audio_truncated", detail=detail))
        await self._recordings.set_facts(recording.recording_id, sound.duration_s, sound.channels)
        await context.progress("speech", SHARE["decode"])
        segments, language = await self._speech(context, recording, signals)
        await context.progress("speakers", SHARE["speech"])
        names: dict[str, str] = {}
        if len(signals) > 1:
            names = channel_split.labels(len(signals), options.get("channel_labels"))
        elif options["diarize"]:
            segments, found = await self._speakers(signals[0], segments, options)
            notices += found
        await context.progress("emotion", SHARE["speakers"])
        emotion_model = None
        if options["emotion"] and segments:
            segments, emotion_model, found = await self._emotions(recording.owner, segments)
            notices += found
        await context.progress("vault", SHARE["emotion"])
        took_s = time.monotonic() - began
        transcript = Transcript(
            transcript_id=recording.recording_id,
            status="completed",
            title=options["title"],
            context=options.get("context"),
            language=language,
            duration_s=round(sound.duration_s, 3),
            text=" ".join(segment.text for segment in segments),
            channels=sound.channels,
            created_at=recording.created_at,
            tags=options.get("tags", []),
            job_id=recording.job_id,
            speakers=speakers_of(segments, names),
            segments=segments,
            warnings=notices,
            metadata=Metadata(
                processing_s=round(took_s, 3),
                realtime_factor=round(took_s / max(sound.duration_s, 0.001), 4),
                models=Models(
                    asr=self.engine.capabilities.model,
                    speaker=self._diarizer.model if self._diarizer and options["diarize"] else None,
                    emotion=emotion_model,
                ),
            ),
        )
        return await self._rag.put_transcript(Principal(recording.owner), transcript)

    async def _decoded(self, recording: Recording) -> Decoded:
        key = await self._keyring.data_key(recording.owner)
        source = self._blobs.read(recording.owner, recording.recording_id, key)
        return await decode(source, limits=DecodeLimits(max_s=self._settings.max_duration_s))

    async def _speech(
        self, context: TaskContext, recording: Recording, signals: list[Samples]
    ) -> tuple[list[Segment], str | None]:
        """All chunks of all channels; those that an earlier run saved are not done again."""
        options = recording.options
        saved = await self._recordings.parts(recording, "speech")
        plan = [
            (channel, start, end)
            for channel, signal in enumerate(signals)
            for start, end in await self.in_pool(cuts, self.engine, signal, self._settings.chunk_s)
        ]
        began, fresh = time.monotonic(), 0
        for part, (channel, start, end) in enumerate(plan):
            if part not in saved:
                sound = as_float(signals[channel][start:end])
                heard = await self.in_pool(
                    self.engine.transcribe, sound, language=options.get("language"), hotwords=options.get("hotwords")
                )
                moved = [_moved(each, start / RATE_HZ, channel) for each in heard.segments]
                saved[part] = {"language": heard.language, "segments": [each.model_dump() for each in moved]}
                await self._recordings.put_part(recording, "speech", part, saved[part])
                fresh += 1
            share = (part + 1) / len(plan)
            eta_s = (time.monotonic() - began) / max(fresh, 1) * (len(plan) - part - 1)
            percent = SHARE["decode"] + (SHARE["speech"] - SHARE["decode"]) * share
            await context.progress("speech", percent, round(eta_s, 1), {"part": part})
        segments = [Segment.model_validate(each) for part in sorted(saved) for each in saved[part]["segments"]]
        segments.sort(key=lambda each: (each.start_s, each.channel))
        return segments, saved[0]["language"] if saved else None

    async def _speakers(
        self, signal: Samples, segments: list[Segment], options: dict[str, Any]
    ) -> tuple[list[Segment], list[Notice]]:
        if self._diarizer is None:
            detail = (
                "No speaker model is installed, so everything is under one speaker; stereo is told apart by channel."
            )
            return segments, [Notice(code="diarization_unavailable", detail=detail)]
        hints = {name: options.get(name) for name in ("num_speakers", "min_speakers", "max_speakers")}
        try:
            turns = await self.in_pool(self._diarizer.diarize, as_float(signal), **hints)
        except Exception as error:  # a failed late stage must not cost the transcript
            log.exception("diarization failed", extra={"kind": type(error).__name__})
            detail = "Telling the speakers apart failed; everything is under one speaker."
            return segments, [Notice(code="diarization_failed", detail=detail)]
        return assign(segments, turns), []

    async def _emotions(self, owner: str, segments: list[Segment]) -> tuple[list[Segment], str | None, list[Notice]]:
        user, found, model = Principal(owner), [], None
        try:
            for at in range(0, len(segments), BATCH):
                batch = await self._emotion.batch(user, [each.text for each in segments[at : at + BATCH]])
                model = batch.model
                found += [each.emotions[0] for each in batch.results]
        except ProductError:
            detail = "The emotion service did not answer; the transcript has no emotions."
            return segments, None, [Notice(code="emotion_unavailable", detail=detail)]
        spans = [SpanEmotion(label=each.label, score=each.score) for each in found]
        return [s.model_copy(update={"emotion": e}) for s, e in zip(segments, spans, strict=True)], model, []


def cuts(engine: SpeechEngine, signal: Samples, chunk_s: float) -> list[tuple[int, int]]:
    """Sample ranges of about `chunk_s`, cut in the middle of pauses so that no word is halved."""
    total = len(signal)
    if total <= 1.5 * chunk_s * RATE_HZ:
        return [(0, total)]
    middles = [int((start + end) / 2 * RATE_HZ) for start, end in engine.pauses(as_float(signal))]
    found, begin = [], 0
    while total - begin > 1.5 * chunk_s * RATE_HZ:
        goal = begin + int(chunk_s * RATE_HZ)
        near = [at for at in middles if begin + chunk_s * RATE_HZ / 2 < at < goal + chunk_s * RATE_HZ / 2]
        end = min(near, key=lambda at: abs(at - goal)) if near else goal
        found.append((begin, end))
        begin = end
    return [*found, (begin, total)]


def _moved(segment: Segment, offset_s: float, channel: int) -> Segment:
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
