"""From stored bytes to a transcript in the vault, in stages whose work is kept.

decode -> vad (where the recording may be cut) -> asr (in chunks, each saved) -> diarization -> identification ->
emotion -> vault. What a stage made is stored sealed, so a crash goes on from the last saved chunk and a retry begins
with the stage that failed; only the decoded sound is made anew, which costs less than storing it. A late stage that
fails leaves the transcript complete without it, with a warning; the job then fails by the name of that stage and may be
retried.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from services.transcription import channels as channel_split
from services.transcription.chunking import cuts, most_spoken, moved
from services.transcription.crosstalk import without_crosstalk
from services.transcription.diarization import assign, label_of, speakers_of
from services.transcription.emotions import felt
from services.transcription.engines import Capabilities, Diarization, Diarizer, Heard, Sound, Voice
from services.transcription.engines.served import Speech
from services.transcription.redaction import AUDIO_NOT_REDACTED, redact
from services.transcription.repository import Recording, Recordings
from services.transcription.settings import Settings
from services.transcription.sound import sound_of
from services.transcription.voices import Voices, plain, voice_of
from services.transcription.waveforms import Waveforms
from shared import tracing
from shared.audio.decode import RATE_HZ, as_float
from shared.audio.tracks import Audible, Track, Tracks
from shared.auth.principal import Principal
from shared.clients.emotion import EmotionClient
from shared.clients.rag import RagClient
from shared.errors import Busy, ModelLost, NotFound, ProductError, StageFailed, UpstreamUnavailable, VaultLocked
from shared.gpu.holder import Holder, Preempted
from shared.gpu.worker import LeaseLost, TaskCancelled, TaskContext
from shared.schemas.transcription import (
    EditTranscript,
    Metadata,
    Models,
    Notice,
    Segment,
    SpanEmotion,
    Speaker,
    Status,
    Transcript,
)
from shared.storage.blobs import Blobs
from shared.storage.keyring import Keyring
from shared.telemetry import here

log = logging.getLogger(__name__)
Result = TypeVar("Result")
BREATH_S = 0.1
CLIP_WAIT_S = 60.0
LIVE_S = 20.0
"""How long a chunk of the background lets those who listen live go first."""
MOST_ATTEMPTS = 5
PAUSE_S = 1.0
EMOTION_S, VAULT_S = 15.0, 120.0
"""How long a stage waits for a service that does not answer."""
EARLY_S = 60.0
"""A longer recording can be searched as soon as its words are there."""
VOICE_S = 60.0
"""Sound of one channel that its speaker is recognised by."""
SHARE = {
    "decode": 3.0, "vad": 4.0, "asr": 65.0, "diarization": 93.0, "identification": 94.0, "emotion": 97.0, "vault": 99.0,
}  # fmt: skip
"""Percent of the whole at the end of each stage, as it was for half an hour on CPU."""
PASSED_ON = (TaskCancelled, LeaseLost, Preempted, NotFound, VaultLocked, asyncio.CancelledError)
"""What no stage may take for a failure of its own."""


@dataclass
class _Draft:
    """A transcript in the making."""

    recording: Recording
    began: float
    sound: Tracks
    signals: list[Track]
    notices: list[Notice]
    language: str | None = None
    segments: list[Segment] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    """Labels of channels."""
    voices: dict[str, Voice] = field(default_factory=dict)
    """By label of the speaker."""
    known: dict[str, Speaker] = field(default_factory=dict)
    """Speakers who were recognised, by label."""
    emotion_model: str | None = None
    ahead: asyncio.Future[Diarization] | None = None
    """Who speaks when, worked out while the words are."""
    over: threading.Event = field(default_factory=threading.Event)
    failed: list[str] = field(default_factory=list)
    """Late stages that are to be tried again."""

    @property
    def options(self) -> dict[str, Any]:
        return self.recording.options

    @property
    def apart(self) -> bool:
        """Each channel is a speaker."""
        return len(self.signals) > 1


@contextmanager
def _stage(stage: str) -> Iterator[None]:
    with tracing.span(f"stage {stage}"), here().timed("nemo_transcription_stage_seconds", stage=stage):
        yield


@contextmanager
def _counted(context: TaskContext) -> Iterator[None]:
    """How a run ended; one that is put off, by others or by a lock, will be another run."""
    outcome = "failed"
    try:
        yield
        outcome = "completed"
    except StageFailed:
        outcome = "without_a_stage"
        raise
    except (TaskCancelled, asyncio.CancelledError, NotFound, Preempted, LeaseLost, VaultLocked) as error:
        cancelled = context.stop is TaskCancelled or isinstance(error, TaskCancelled | NotFound)
        outcome = "cancelled" if cancelled else "put_off"
        raise
    finally:
        here().count("nemo_transcription_recordings_total", outcome=outcome)


LateStage = Callable[["TaskContext", _Draft], Awaitable[None]]


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
        voices: Voices,
    ) -> None:
        self._settings, self.engine, self._holder = settings, engine, holder
        self._diarizer: Diarizer | None = None
        self._recordings, self._blobs, self._keyring = recordings, blobs, keyring
        self._emotion, self._rag, self.voices = emotion, rag, voices
        self.waveforms = Waveforms(settings, recordings, blobs, keyring)
        self.live_first: Callable[[], bool] = lambda: False
        """Somebody who speaks right now waits for words."""
        # A long recording's speakers take minutes in one piece; nobody's words wait for them.
        self._beside = ThreadPoolExecutor(max_workers=1, thread_name_prefix="speakers")

    @property
    def capabilities(self) -> Capabilities | None:
        """None where the model was never loaded (yet)."""
        return self.engine.known

    def use(self, diarizer: Diarizer | None) -> None:
        self._diarizer = diarizer
        self.voices.use(diarizer)

    # -- for those who wait for it

    async def utterance(self, sound: Sound, *, language: str | None, hotwords: str | None, most_s: float) -> Heard:
        """What was said in one utterance of a live stream. Raises ModelNotReady."""
        async with self._holder.use(most_s=most_s):
            return await self.engine.utterance(sound, language=language, hotwords=hotwords)

    async def clip(self, sound: Sound) -> tuple[Heard, str]:
        """What was said in a short clip, and by which model. Raises ModelNotReady."""
        async with self._holder.use(most_s=CLIP_WAIT_S):
            return await self.engine.transcribe(sound), self.engine.capabilities.model

    async def guess(self, sound: Sound, *, language: str | None) -> str:
        """A first idea of what is being said. Raises ModelNotReady."""
        async with self._holder.use(most_s=CLIP_WAIT_S):
            return await self.engine.guess(sound, language=language)

    async def voice(self, sound: Sound) -> Voice | None:
        """Of a stretch in which one person talks; None where nobody can tell."""
        return await asyncio.to_thread(self._diarizer.voice, sound) if self._diarizer is not None else None

    async def encode(self, sound: Sound) -> Sound:
        """The vector of a voice, where the model's process computes it. Raises ModelNotReady."""
        async with self._holder.use(most_s=CLIP_WAIT_S):
            return await self.engine.voice(sound)

    # -- the task

    async def _in_turn(self, work: Callable[[], Awaitable[Result]]) -> Result:
        """One piece of work with the model. Raises Preempted where others go first, also in the middle of it."""
        deadline = time.monotonic() + LIVE_S
        while self.live_first() and time.monotonic() < deadline:  # noqa: ASYNC110 - it is over in a moment
            await asyncio.sleep(BREATH_S)
        try:
            async with self._holder.in_background():
                return await work()
        except ModelLost:
            if self._holder.sent_away:
                raise Preempted from None
            raise

    async def run(self, context: TaskContext) -> dict[str, Any]:
        """The task's handler. Raises what a user should read as the reason of failure."""
        with _counted(context):
            return await self._run(context)

    async def _run(self, context: TaskContext) -> dict[str, Any]:
        recording_id, owner = context.task.payload["recording_id"], context.task.payload["owner"]
        recording = await self._recordings.get(recording_id, owner)
        await self._recordings.set_begun(recording_id)
        try:
            draft = await self._drafted(context, recording)
            with _stage("vault"):
                await self._finish(await self._document(draft, "completed"), draft)
        except (TaskCancelled, asyncio.CancelledError):
            if context.stop is TaskCancelled:
                await self._recordings.set_status(recording_id, "cancelled")
                await self._forget_unfinished(recording)
            raise
        except NotFound:  # deleted meanwhile
            await self._forget_unfinished(recording)
            raise
        except VaultLocked:  # what is done is stored; the rest waits for the key
            raise
        except ProductError as error:
            if error.status < 500 or context.task.attempt >= MOST_ATTEMPTS:
                await self._recordings.set_status(recording_id, "failed", error.detail, error.code)
            raise
        here().count("nemo_transcription_audio_seconds_total", draft.sound.duration_s)
        if draft.sound.duration_s:
            took_s = time.monotonic() - draft.began
            here().took("nemo_transcription_real_time_factor", took_s / draft.sound.duration_s)
        if draft.failed:
            raise StageFailed(f"Not done: {', '.join(draft.failed)}. The transcript is there without; retry the job.")
        return {"transcript_id": recording_id}

    async def _forget_unfinished(self, recording: Recording) -> None:
        """A transcript that was complete before stays, whatever becomes of the stages that were to be done again."""
        with suppress(NotFound):
            if await self._recordings.status(recording.recording_id, recording.owner) == "completed":
                return
        await self._forget(recording)

    async def _forget(self, recording: Recording) -> None:
        with suppress(ProductError):
            await self._rag.delete_transcript(Principal(recording.owner), recording.recording_id)

    async def _finish(self, transcript: Transcript, draft: _Draft) -> None:
        """To the vault; and out of it again where the recording was deleted meanwhile."""
        recording = draft.recording
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
        if not draft.failed:
            await self._recordings.drop_parts(recording_id)

    async def _drafted(self, context: TaskContext, recording: Recording) -> _Draft:
        """All stages but the last. The first three have to succeed; each of the others may fail alone."""
        with _stage("decode"):
            draft = await self._opened(context, recording)
        try:
            draft.ahead = await self._begun(context, draft)
            return await self._worked_out(context, draft)
        finally:
            draft.over.set()  # a thread that nobody waits for any more may stop

    async def _worked_out(self, context: TaskContext, draft: _Draft) -> _Draft:
        await self._tell(context, draft, "vad", SHARE["decode"])
        with _stage("vad"):
            plan = await self._plan(draft)
        with _stage("asr"):
            await self._asr(context, draft, plan)
        if not draft.segments:
            draft.notices.append(Notice(code="no_speech", detail="No speech was found in this recording."))
            return draft
        if draft.sound.duration_s > EARLY_S and draft.recording.status != "completed":
            await self._early(draft)
        await self._late("diarization", self._diarization, context, draft)
        await self._late("identification", self._identification, context, draft)
        await self._late("emotion", self._emotions, context, draft)
        await self._tell(context, draft, "vault", SHARE["emotion"])
        return draft

    async def _tell(self, context: TaskContext, draft: _Draft, stage: str, percent: float, **cursor: Any) -> None:
        """How far it is, and how long it may still take at this pace."""
        took_s = time.monotonic() - draft.began
        eta_s = round(took_s * (100 - percent) / percent, 1) if percent >= SHARE["vad"] else None
        await context.progress(stage, percent, eta_s, cursor or None)

    async def _late(self, stage: str, work: LateStage, context: TaskContext, draft: _Draft) -> None:
        """A failed late stage must not cost the transcript."""
        before = list(SHARE)[list(SHARE).index(stage) - 1]
        await self._tell(context, draft, stage, SHARE[before])
        try:
            with _stage(stage):
                await work(context, draft)
        except PASSED_ON:
            raise
        except (Busy, UpstreamUnavailable) as error:
            draft.failed.append(stage)
            draft.notices.append(Notice(code=f"{stage}_unavailable", detail=error.detail))
        except Exception as error:
            log.exception("a stage failed", extra={"stage": stage, "kind": type(error).__name__})
            draft.failed.append(stage)
            draft.notices.append(Notice(code=f"{stage}_failed", detail=LATE[stage]))

    # -- decode

    async def _opened(self, context: TaskContext, recording: Recording) -> _Draft:
        began, options = time.monotonic(), recording.options
        await context.progress("decode", 1)
        sound = await sound_of(recording, self._blobs, self._keyring, self._settings)
        signals, notices = await asyncio.to_thread(channel_split.split, sound.channels, options["channels"])
        if sound.truncated:
            detail = "The file breaks off or is damaged; what could be decoded was transcribed."
            notices.append(Notice(code="audio_truncated", detail=detail))
        if options.get("hotwords") and not self.engine.capabilities.hotwords:
            detail = f"{self.engine.capabilities.model} takes no hotwords, so they were not used."
            notices.append(Notice(code="hotwords_ignored", detail=detail))
        await self._recordings.set_facts(recording.recording_id, sound.duration_s, len(sound.channels))
        await self.waveforms.keep(recording, sound.channels)
        return _Draft(recording, began, sound, signals, notices)

    # -- vad and asr

    async def _asr(self, context: TaskContext, draft: _Draft, plan: Sequence[tuple[int, int, int]]) -> None:
        """All chunks of all channels; those that an earlier run saved are not done again."""
        saved = await self._recordings.parts(draft.recording, "asr")
        for part, (channel, start, end) in enumerate(plan):
            if part not in saved:
                saved[part] = await self._chunk(draft, channel, start, end)
                await self._recordings.put_part(draft.recording, "asr", part, saved[part])
                await self._keyring.data_key(draft.recording.owner)  # a vault that was locked is left alone
            percent = SHARE["vad"] + (SHARE["asr"] - SHARE["vad"]) * (part + 1) / len(plan)
            await self._tell(context, draft, "asr", percent, part=part)
        segments = [Segment.model_validate(each) for part in range(len(plan)) for each in saved[part]["segments"]]
        segments.sort(key=lambda each: (each.start_s, each.channel))
        if draft.apart:
            segments, found = await asyncio.to_thread(without_crosstalk, segments, draft.signals)
            draft.notices += found
        draft.language = most_spoken([saved[part] for part in range(len(plan))])
        if kinds := frozenset(draft.options.get("redact") or ()):
            segments, _ = await asyncio.to_thread(redact, segments, kinds)
            draft.notices.append(AUDIO_NOT_REDACTED)
        draft.segments = segments
        if draft.apart:
            draft.names, found = channel_split.labels(len(draft.signals), draft.options.get("channel_labels"))
            draft.notices += found

    async def _chunk(self, draft: _Draft, channel: int, start: int, end: int) -> dict[str, Any]:
        sound, options = await asyncio.to_thread(_piece, draft.signals[channel], start, end), draft.options
        hear = partial(
            self.engine.transcribe, sound, language=options.get("language"), hotwords=options.get("hotwords")
        )
        heard = await self._in_turn(hear)
        found = [moved(each, start / RATE_HZ, channel).model_dump() for each in heard.segments]
        return {"language": heard.language, "segments": found}

    async def _plan(self, draft: _Draft) -> list[tuple[int, int, int]]:
        """(channel, first sample, end) of each chunk; kept, since saved chunks are numbered by it."""
        saved = await self._recordings.parts(draft.recording, "plan")
        if not saved:
            pauses = lambda window: self._in_turn(partial(self.engine.pauses, window))  # noqa: E731
            plan = [
                [channel, start, end]
                for channel, signal in enumerate(draft.signals)
                for start, end in await cuts(pauses, signal, self._settings.chunk_s)
            ]
            await self._recordings.put_part(draft.recording, "plan", 0, plan)
            saved = {0: plan}
        return [(channel, start, end) for channel, start, end in saved[0]]

    async def _early(self, draft: _Draft) -> None:
        """What was said can be found while it is still worked out who said it and how."""
        owner, options = draft.recording.owner, draft.options
        if options.get("remember", True):
            try:
                await self._rag.put_transcript(Principal(owner), await self._document(draft, "processing"))
            except (UpstreamUnavailable, Busy):
                log.info("a transcript was not stored early; it will be when it is whole")

    # -- diarization and identification

    async def _diarization(self, context: TaskContext, draft: _Draft) -> None:
        saved = await self._recordings.parts(draft.recording, "diarization")
        if not saved:
            value = await self._apart(context, draft)
            await self._recordings.put_part(draft.recording, "diarization", 0, value)
            saved = {0: value}
        draft.segments = [Segment.model_validate(each) for each in saved[0]["segments"]]
        draft.voices = {label: voice_of(each) for label, each in saved[0]["voices"].items()}
        draft.notices += [Notice.model_validate(each) for each in saved[0]["notices"]]

    async def _begun(self, context: TaskContext, draft: _Draft) -> asyncio.Future[Diarization] | None:
        """Telling apart needs no words and one thread, so it begins with them; a core that waits is of no use."""
        if self._diarizer is None or draft.apart or not draft.options["diarize"]:
            return None
        if await self._recordings.parts(draft.recording, "diarization"):
            return None
        hints = {name: draft.options.get(name) for name in ("num_speakers", "min_speakers", "max_speakers")}
        breathe = partial(self._breathe, context, draft)
        work = partial(self._diarizer.diarize, Audible(draft.signals[0]), breathe=breathe, **hints)
        begun = asyncio.get_running_loop().run_in_executor(self._beside, work)
        begun.add_done_callback(lambda done: done.cancelled() or done.exception())  # told where it is waited for
        return begun

    async def _apart(self, context: TaskContext, draft: _Draft) -> dict[str, Any]:
        segments, voices, notices = draft.segments, dict[str, Voice](), list[Notice]()
        if self._diarizer is None and draft.options["diarize"] and not draft.apart:
            notices = [Notice(code="diarization_unavailable", detail=NO_SPEAKERS)]
        elif draft.apart and self._diarizer is not None:
            voices = await asyncio.get_running_loop().run_in_executor(self._beside, self._of_channels, draft)
        elif draft.ahead is not None:
            found = await draft.ahead
            segments = await asyncio.to_thread(assign, segments, found.turns)
            voices = {label_of(speaker): voice for speaker, voice in found.voices.items()}
        return {
            "segments": [each.model_dump() for each in segments],
            "voices": {label: plain(voice) for label, voice in voices.items()},
            "notices": [each.model_dump() for each in notices],
        }

    def _of_channels(self, draft: _Draft) -> dict[str, Voice]:
        """Blocking. The voice of each channel, by the first minute of its speech."""
        found: dict[str, Voice] = {}
        for channel, signal in enumerate(draft.signals):
            spoken = [each for each in draft.segments if each.channel == channel]
            sound = as_float(channel_split.stretches(signal, spoken, VOICE_S))
            if len(sound) and self._diarizer is not None and (voice := self._diarizer.voice(sound)) is not None:
                found[label_of(channel)] = voice
        return found

    def _breathe(self, context: TaskContext, draft: _Draft) -> None:
        """Between two pieces of one long work, in its thread: while others go first it waits, so nothing is lost."""
        while context.stop is None and not draft.over.is_set() and (self._holder.others_first or self.live_first()):
            time.sleep(BREATH_S)
        if context.stop is not None or draft.over.is_set():
            raise context.stop or LeaseLost

    async def _identification(self, context: TaskContext, draft: _Draft) -> None:
        await self.voices.keep(draft.recording, draft.voices)
        draft.known = await self.voices.recognised(draft.recording.owner, draft.voices)

    # -- emotion

    async def _emotions(self, context: TaskContext, draft: _Draft) -> None:
        if not draft.options["emotion"]:
            return
        saved = await self._recordings.parts(draft.recording, "emotion")
        ids = [each.segment_id for each in draft.segments]
        if not saved or saved[0]["ids"] != ids:  # an earlier run had other segments where the speakers failed
            user, wait = Principal(draft.recording.owner), partial(patiently, most_s=EMOTION_S)
            spans, model = await felt(self._emotion, user, draft.signals, draft.segments, wait)
            value = {"ids": ids, "spans": [each.model_dump() for each in spans], "model": model}
            await self._recordings.put_part(draft.recording, "emotion", 0, value)
            saved = {0: value}
        spans = [SpanEmotion.model_validate(each) for each in saved[0]["spans"]]
        draft.segments = [s.model_copy(update={"emotion": e}) for s, e in zip(draft.segments, spans, strict=True)]
        draft.emotion_model = saved[0]["model"]

    # -- the document

    async def _document(self, draft: _Draft, status: Status) -> Transcript:
        recording, segments, duration_s = draft.recording, draft.segments, draft.sound.duration_s
        took_s = time.monotonic() - draft.began
        options = (await self._recordings.get(recording.recording_id, recording.owner)).options
        return Transcript(
            transcript_id=recording.recording_id,
            status=status,
            title=options["title"],
            context=options.get("context"),
            language=draft.language,
            duration_s=round(duration_s, 3),
            text=" ".join(segment.text for segment in segments),
            channels=len(draft.sound.channels),
            created_at=recording.created_at,
            tags=options.get("tags", []),
            job_id=recording.job_id,
            speakers=[draft.known.get(each.label, each).model_copy(update={"talk_s": each.talk_s})
                      for each in speakers_of(segments, draft.names)],
            segments=segments,
            warnings=draft.notices,
            metadata=Metadata(
                processing_s=round(took_s, 3),
                realtime_factor=round(took_s / max(duration_s, 0.001), 4),
                models=Models(
                    asr=self.engine.capabilities.model,
                    speaker=self._diarizer.model if self._diarizer and draft.voices else None,
                    emotion=draft.emotion_model,
                ),
            ),
        )  # fmt: skip


NO_SPEAKERS = "No speaker model is installed, so everything is under one speaker; stereo is told apart by channel."
LATE = {
    "diarization": "Telling the speakers apart failed; everything is under one speaker. Retry the job to try again.",
    "identification": "Recognising known speakers failed. Retry the job to try again.",
    "emotion": "Reading the emotions failed. Retry the job to try again.",
}


def _piece(signal: Track, start: int, end: int) -> Sound:
    return as_float(signal[start:end])


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
