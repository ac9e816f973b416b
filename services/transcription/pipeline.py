"""From stored bytes to a transcript in the vault, in stages whose work is kept.

decode -> speech (in chunks, each saved) -> speakers -> emotion -> vault. A crash goes on from the last saved chunk; a
failed late stage costs a warning, never the transcript.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import numpy as np

from services.transcription import channels as channel_split
from services.transcription.crosstalk import without_crosstalk
from services.transcription.diarization import assign, speakers_of
from services.transcription.engines import Capabilities, Diarizer, Heard, Sound
from services.transcription.engines.served import Speech
from services.transcription.repository import Recording, Recordings
from services.transcription.settings import Settings
from shared.audio.decode import RATE_HZ, Decoded, DecodeLimits, Samples, as_float, decode
from shared.auth.principal import Principal
from shared.clients.emotion import EmotionClient
from shared.clients.rag import RagClient
from shared.errors import Busy, ModelLost, NotFound, ProductError, UpstreamUnavailable
from shared.gpu.holder import Holder, Preempted
from shared.gpu.worker import LeaseLost, TaskCancelled, TaskContext
from shared.schemas.transcription import (
    EditTranscript,
    Metadata,
    Models,
    Notice,
    Segment,
    SpanEmotion,
    Status,
    Transcript,
)
from shared.storage.blobs import Blobs
from shared.storage.keyring import Keyring

log = logging.getLogger(__name__)
Result = TypeVar("Result")
Labelled = tuple[list[Segment], list[Notice]]
Stage = Callable[[Recording, list[Segment]], Awaitable[Labelled]]
BATCH = 128
BREATH_S = 0.1
CLIP_WAIT_S = 60.0
MOST_CHARS = 20_000
"""Of one text, as the emotion service takes it."""
MOST_ATTEMPTS = 5
PAUSE_S = 1.0
EMOTION_S, VAULT_S = 15.0, 120.0
"""How long a stage waits for a service that does not answer."""
LOOK_S = 15.0
"""How far from the ideal place a pause is looked for."""
EARLY_S = 60.0
"""A longer recording can be searched as soon as its words are there."""
SHARE = {"decode": 3.0, "speech": 65.0, "speakers": 95.0, "emotion": 97.0, "vault": 99.0}
"""Percent of the whole at the end of each stage, as it was for half an hour on CPU."""


@dataclass
class _Draft:
    """A transcript in the making."""

    recording: Recording
    began: float
    duration_s: float
    channels: int
    language: str | None
    segments: list[Segment]
    notices: list[Notice]
    names: dict[str, str] = field(default_factory=dict)
    """Labels of channels."""


class Pipeline:
    """Runs the task `transcribe`. One speech model, held where the coordinator says, used by one at a time."""

    def __init__(
        self,
        settings: Settings,
        engine: Speech,
        holder: Holder,
        recordings: Recordings,
        blobs: Blobs,
        keyring: Keyring,
        emotion: EmotionClient,
        rag: RagClient,
    ) -> None:
        self._settings, self.engine, self._holder = settings, engine, holder
        self._diarizer: Diarizer | None = None
        self._recordings, self._blobs, self._keyring = recordings, blobs, keyring
        self._emotion, self._rag = emotion, rag
        self._emotion_model: str | None = None
        # A long recording's speakers take minutes in one piece; nobody's words wait for them.
        self._beside = ThreadPoolExecutor(max_workers=1, thread_name_prefix="speakers")

    @property
    def capabilities(self) -> Capabilities | None:
        """None where the model was never loaded (yet)."""
        return self.engine.known

    def use(self, diarizer: Diarizer | None) -> None:
        self._diarizer = diarizer

    async def clip(self, sound: Sound) -> tuple[Heard, str]:
        """What was said in a short clip, and by which model; somebody waits for it. Raises ModelNotReady."""
        async with self._holder.use(most_s=CLIP_WAIT_S):
            return await self.engine.transcribe(sound), self.engine.capabilities.model

    async def _in_turn(self, work: Callable[[], Awaitable[Result]]) -> Result:
        """One piece of work with the model. Raises Preempted where others go first, also in the middle of it."""
        try:
            async with self._holder.in_background():
                return await work()
        except ModelLost:
            if self._holder.sent_away:
                raise Preempted from None
            raise

    async def run(self, context: TaskContext) -> dict[str, Any]:
        """The task's handler. Raises what a user should read as the reason of failure."""
        recording_id, owner = context.task.payload["recording_id"], context.task.payload["owner"]
        recording = await self._recordings.get(recording_id, owner)
        await self._recordings.set_begun(recording_id)
        try:
            await self._finish(await self._transcript(context, recording), recording)
        except (TaskCancelled, asyncio.CancelledError):
            if context.stop is TaskCancelled:
                await self._recordings.set_status(recording_id, "cancelled")
                await self._forget(recording)
            raise
        except NotFound:  # deleted meanwhile
            await self._forget(recording)
            raise
        except ProductError as error:
            if error.status < 500 or context.task.attempt >= MOST_ATTEMPTS:
                await self._recordings.set_status(recording_id, "failed", error.detail, error.code)
            raise
        return {"transcript_id": recording_id}

    async def _forget(self, recording: Recording) -> None:
        with suppress(ProductError):
            await self._rag.delete_transcript(Principal(recording.owner), recording.recording_id)

    async def _finish(self, transcript: Transcript, recording: Recording) -> None:
        """To the vault; and out of it again where the recording was deleted meanwhile."""
        user, recording_id = Principal(recording.owner), recording.recording_id
        remember = recording.options.get("remember", True)
        await patiently(lambda: self._rag.put_transcript(user, transcript, remember=remember), VAULT_S)
        await self._recordings.set_status(recording_id, "completed")
        try:
            latest = (await self._recordings.get(recording_id, recording.owner)).options
        except NotFound:
            await self._forget(recording)
            raise
        if latest["title"] != transcript.title or latest.get("tags", []) != transcript.tags:
            edit = EditTranscript(title=latest["title"], tags=latest.get("tags", []))
            await self._rag.edit_transcript(user, recording_id, edit)
        await self._recordings.drop_parts(recording_id)

    async def _transcript(self, context: TaskContext, recording: Recording) -> Transcript:
        began, options = time.monotonic(), recording.options
        await context.progress("decode", 1)
        sound = await self._decoded(recording)
        signals, notices = channel_split.split(sound.samples, options["channels"])
        if sound.truncated:
            detail = "The file breaks off or is damaged; what could be decoded was transcribed."
            notices.append(Notice(code="audio_truncated", detail=detail))
        if options.get("hotwords") and not self.engine.capabilities.hotwords:
            detail = f"{self.engine.capabilities.model} takes no hotwords, so they were not used."
            notices.append(Notice(code="hotwords_ignored", detail=detail))
        await self._recordings.set_facts(recording.recording_id, sound.duration_s, sound.channels)
        await context.progress("speech", SHARE["decode"])
        segments, language = await self._speech(context, recording, signals)
        if len(signals) > 1:
            segments, found = await asyncio.to_thread(without_crosstalk, segments, signals)
            notices += found
        draft = _Draft(recording, began, sound.duration_s, sound.channels, language, segments, notices)
        if not segments:
            notices.append(Notice(code="no_speech", detail="No speech was found in this recording."))
        elif sound.duration_s > EARLY_S:
            await self._early(draft)
        await context.progress("speakers", SHARE["speech"])
        if len(signals) > 1:
            draft.names, found = channel_split.labels(len(signals), options.get("channel_labels"))
            notices += found
        elif options["diarize"] and segments:
            work = partial(self._speakers, context, signals[0])
            draft.segments, found = await self._kept(recording, "speakers", segments, work)
            notices += found
        await context.progress("emotion", SHARE["speakers"])
        if options["emotion"] and segments:
            draft.segments, found = await self._kept(recording, "emotion", draft.segments, self._emotions)
            notices += found
        await context.progress("vault", SHARE["emotion"])
        return await self._document(draft, "completed")

    async def _early(self, draft: _Draft) -> None:
        """What was said can be found while it is still worked out who said it and how."""
        owner, options = draft.recording.owner, draft.recording.options
        if options.get("remember", True):
            try:
                await self._rag.put_transcript(Principal(owner), await self._document(draft, "processing"))
            except (UpstreamUnavailable, Busy):
                log.info("a transcript was not stored early; it will be when it is whole")

    async def _document(self, draft: _Draft, status: Status) -> Transcript:
        recording, segments = draft.recording, draft.segments
        took_s = time.monotonic() - draft.began
        options = (await self._recordings.get(recording.recording_id, recording.owner)).options
        apart = options["diarize"] and not draft.names and status == "completed"
        return Transcript(
            transcript_id=recording.recording_id,
            status=status,
            title=options["title"],
            context=options.get("context"),
            language=draft.language,
            duration_s=round(draft.duration_s, 3),
            text=" ".join(segment.text for segment in segments),
            channels=draft.channels,
            created_at=recording.created_at,
            tags=options.get("tags", []),
            job_id=recording.job_id,
            speakers=speakers_of(segments, draft.names),
            segments=segments,
            warnings=draft.notices,
            metadata=Metadata(
                processing_s=round(took_s, 3),
                realtime_factor=round(took_s / max(draft.duration_s, 0.001), 4),
                models=Models(
                    asr=self.engine.capabilities.model,
                    speaker=self._diarizer.model if self._diarizer and apart else None,
                    emotion=self._emotion_model if any(each.emotion for each in segments) else None,
                ),
            ),
        )

    async def _kept(self, recording: Recording, stage: str, segments: list[Segment], work: Stage) -> Labelled:
        """What `work` makes of the segments; what an earlier run made of them where there was one."""
        saved = await self._recordings.parts(recording, stage)
        if saved:
            found = [Segment.model_validate(each) for each in saved[0]["segments"]]
            return found, [Notice.model_validate(each) for each in saved[0]["notices"]]
        labelled, notices = await work(recording, segments)
        value = {
            "segments": [each.model_dump() for each in labelled],
            "notices": [each.model_dump() for each in notices],
        }
        await self._recordings.put_part(recording, stage, 0, value)
        return labelled, notices

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
        plan = await self._plan(recording, signals)
        began, fresh = time.monotonic(), 0
        for part, (channel, start, end) in enumerate(plan):
            if part not in saved:
                sound = as_float(signals[channel][start:end])
                hear = partial(
                    self.engine.transcribe, sound, language=options.get("language"), hotwords=options.get("hotwords")
                )
                heard = await self._in_turn(hear)
                shifted = [moved(each, start / RATE_HZ, channel) for each in heard.segments]
                saved[part] = {"language": heard.language, "segments": [each.model_dump() for each in shifted]}
                await self._recordings.put_part(recording, "speech", part, saved[part])
                fresh += 1
            share = (part + 1) / len(plan)
            eta_s = (time.monotonic() - began) / max(fresh, 1) * (len(plan) - part - 1)
            percent = SHARE["decode"] + (SHARE["speech"] - SHARE["decode"]) * share
            await context.progress("speech", percent, round(eta_s, 1), {"part": part})
        segments = [Segment.model_validate(each) for part in range(len(plan)) for each in saved[part]["segments"]]
        segments.sort(key=lambda each: (each.start_s, each.channel))
        return segments, most_spoken([saved[part] for part in range(len(plan))])

    async def _plan(self, recording: Recording, signals: list[Samples]) -> list[tuple[int, int, int]]:
        """(channel, first sample, end) of each chunk; kept, since saved chunks are numbered by it."""
        saved = await self._recordings.parts(recording, "plan")
        if not saved:
            plan = [
                [channel, start, end]
                for channel, signal in enumerate(signals)
                for start, end in await self._in_turn(partial(cuts, self.engine, signal, self._settings.chunk_s))
            ]
            await self._recordings.put_part(recording, "plan", 0, plan)
            saved = {0: plan}
        return [(channel, start, end) for channel, start, end in saved[0]]

    async def _speakers(
        self, context: TaskContext, signal: Samples, recording: Recording, segments: list[Segment]
    ) -> Labelled:
        if self._diarizer is None:
            detail = (
                "No speaker model is installed, so everything is under one speaker; stereo is told apart by channel."
            )
            return segments, [Notice(code="diarization_unavailable", detail=detail)]
        hints = {name: recording.options.get(name) for name in ("num_speakers", "min_speakers", "max_speakers")}
        try:
            work = partial(self._diarizer.diarize, as_float(signal), breathe=partial(self._breathe, context), **hints)
            turns = (await asyncio.get_running_loop().run_in_executor(self._beside, work)).turns
        except (TaskCancelled, LeaseLost):
            raise
        except Exception as error:  # a failed late stage must not cost the transcript
            log.exception("diarization failed", extra={"kind": type(error).__name__})
            detail = "Telling the speakers apart failed; everything is under one speaker."
            return segments, [Notice(code="diarization_failed", detail=detail)]
        return assign(segments, turns), []

    def _breathe(self, context: TaskContext) -> None:
        """Between two pieces of one long work, in its thread: while others go first it waits, so nothing is lost."""
        while context.stop is None and self._holder.others_first:
            time.sleep(BREATH_S)
        if context.stop is not None:
            raise context.stop

    async def _emotions(self, recording: Recording, segments: list[Segment]) -> Labelled:
        user, found = Principal(recording.owner), []
        texts = [each.text[:MOST_CHARS] for each in segments]
        try:
            for at in range(0, len(texts), BATCH):
                ask = partial(self._emotion.batch, user, texts[at : at + BATCH])
                batch = await patiently(ask, EMOTION_S)
                self._emotion_model = batch.model
                found += [
                    SpanEmotion(label=each.emotions[0].label, score=each.emotions[0].score) for each in batch.results
                ]
            return [s.model_copy(update={"emotion": e}) for s, e in zip(segments, found, strict=True)], []
        except (ProductError, ValueError):  # a failed late stage must not cost the transcript
            detail = "The emotion service did not answer; the transcript has no emotions."
            return segments, [Notice(code="emotion_unavailable", detail=detail)]


async def patiently(work: Callable[[], Awaitable[Result]], most_s: float) -> Result:
    """The answer of a service that may be starting anew; its refusal after `most_s` seconds."""
    deadline = time.monotonic() + most_s
    while True:
        try:
            return await work()
        except (Busy, UpstreamUnavailable):
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(PAUSE_S)


def most_spoken(parts: Sequence[Mapping[str, Any]]) -> str | None:
    """The language of most of the text; silence has none to say."""
    count: Counter[str] = Counter()
    for part in parts:
        count[part["language"]] += sum(len(each["text"]) for each in part["segments"])
    return count.most_common(1)[0][0] if count else None


async def cuts(engine: Speech, signal: Samples, chunk_s: float) -> list[tuple[int, int]]:
    """Sample ranges of about `chunk_s`, cut in pauses so that no word is halved."""
    total, chunk = len(signal), int(chunk_s * RATE_HZ)
    found, begin = [], 0
    while total - begin > 1.5 * chunk:
        end = await _pause_near(engine, signal, begin + chunk, min(int(LOOK_S * RATE_HZ), chunk // 2))
        found.append((begin, end))
        begin = end
    return [*found, (begin, total)]


async def _pause_near(engine: Speech, signal: Samples, goal: int, reach: int) -> int:
    """The middle of the nearest pause; where nobody stops to breathe, the quietest moment."""
    window = signal[goal - reach : goal + reach]
    middles = [int((start + end) / 2 * RATE_HZ) for start, end in await engine.pauses(as_float(window))]
    if middles:
        return goal - reach + min(middles, key=lambda at: abs(at - reach))
    size = RATE_HZ // 20
    levels = np.abs(as_float(window[: len(window) // size * size]).reshape(-1, size)).mean(axis=1)
    return goal - reach + int(levels.argmin()) * size + size // 2


def moved(segment: Segment, offset_s: float, channel: int) -> Segment:
    """A segment of a chunk where it stands in the recording."""
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
