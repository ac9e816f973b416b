"""What users do with recordings."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any

from services.transcription import options as upload_options
from services.transcription.pipeline import Pipeline
from services.transcription.repository import Recording, Recordings
from services.transcription.settings import Settings
from services.transcription.uploads import MultipartBody
from shared.audio.decode import DecodeLimits, as_float, decode
from shared.auth.principal import Principal
from shared.clients.gpu_coordinator import CoordinatorClient
from shared.clients.rag import RagClient
from shared.errors import AudioUnreadable, NotFound, ProductError, TooLarge
from shared.schemas.coordinator import SubmitTask
from shared.schemas.ids import new_id
from shared.schemas.transcription import (
    ClipTranscript,
    EditTranscript,
    Metadata,
    Segment,
    Transcript,
    TranscriptSummary,
    UploadAccepted,
)
from shared.schemas.wire import Page
from shared.storage.blobs import Blobs
from shared.storage.keyring import Keyring

log = logging.getLogger(__name__)
TRANSCRIBE = "transcribe"
POLL_S = 0.2
TERMINAL = ("completed", "failed", "cancelled")


class Studio:
    """Recordings of all users; every method is told whose."""

    def __init__(
        self,
        settings: Settings,
        recordings: Recordings,
        blobs: Blobs,
        keyring: Keyring,
        coordinator: CoordinatorClient,
        rag: RagClient,
        pipeline: Pipeline,
    ) -> None:
        self._settings, self._recordings, self._blobs, self._keyring = settings, recordings, blobs, keyring
        self._coordinator, self._rag, self.pipeline = coordinator, rag, pipeline

    async def upload(self, user: Principal, body: MultipartBody) -> UploadAccepted:
        """Bytes, row and task are durable when it returns; nothing is left behind when it raises."""
        recording_id = new_id("rec")
        key = await self._keyring.data_key(user.user_id)
        try:
            chunks = body.file("file", "audio", "audio_file")
            most = self._settings.max_upload_bytes
            info = await self._blobs.write(user.user_id, recording_id, key, chunks, max_bytes=most)
            if info.size_bytes == 0:
                raise AudioUnreadable("The file is empty.")
            options = upload_options.read(body.fields, self.pipeline.engine.capabilities)
            values = options.model_dump() | {"filename": body.filename, "content_type": body.content_type}
            values["title"] = options.title or _title_of(body.filename)
            await self._recordings.add(
                recording_id, user.user_id, values, size_bytes=info.size_bytes, sha256=info.sha256
            )
            job_id = await self._submit(recording_id, user.user_id)
        except BaseException:
            await self._discard(user.user_id, recording_id)
            raise
        return UploadAccepted(transcript_id=recording_id, job_id=job_id, status="queued")

    async def _discard(self, owner: str, recording_id: str) -> None:
        await self._recordings.delete(recording_id, owner)
        await self._blobs.delete(owner, recording_id)

    async def _submit(self, recording_id: str, owner: str) -> str:
        task = await self._coordinator.submit(
            SubmitTask(
                kind=TRANSCRIBE,
                payload={"recording_id": recording_id, "owner": owner},
                owner=owner,
                idempotency_key=recording_id,
            )
        )
        await self._recordings.set_job(recording_id, task.task_id)
        return task.task_id

    async def submit_orphans(self) -> None:
        """For ever: uploads whose process died between the row and the task get their task."""
        while True:
            try:
                for recording_id, owner in await self._recordings.without_job(older_than_s=30):
                    await self._submit(recording_id, owner)
            except ProductError:
                log.warning("could not look for uploads without a task")
            await asyncio.sleep(15)

    async def wait(self, user: Principal, recording_id: str, wait_s: float) -> Transcript:
        """The transcript once it is finished, or as it is after `wait_s` seconds."""
        deadline = asyncio.get_running_loop().time() + wait_s
        while True:
            recording = await self._recordings.get(recording_id, user.user_id)
            left_s = deadline - asyncio.get_running_loop().time()
            if recording.status in TERMINAL or left_s <= 0:
                return await self.get(user, recording_id)
            await asyncio.sleep(min(POLL_S, left_s))

    async def get(self, user: Principal, recording_id: str) -> Transcript:
        recording = await self._recordings.get(recording_id, user.user_id)
        if recording.status == "completed":
            return await self._rag.transcript(user, recording_id)
        status = await self._status(user, recording)
        return await self._unfinished(recording, status)

    async def _status(self, user: Principal, recording: Recording) -> tuple[Any, str | None]:
        """The queue knows of a cancelled or dead task what the row cannot."""
        if recording.job_id is None or recording.status == "failed":
            return recording.status, recording.error
        try:
            job = await self._coordinator.job(user, recording.job_id)
        except ProductError:
            return recording.status, recording.error
        if job.state == "cancelled":
            return "cancelled", None
        if job.state in ("failed", "dead"):
            return "failed", job.error
        return recording.status, recording.error

    async def _unfinished(self, recording: Recording, status: tuple[Any, str | None]) -> Transcript:
        """What there is so far: the text of the chunks that are done."""
        parts = await self._recordings.parts(recording, "speech")
        segments = [Segment.model_validate(each) for part in parts.values() for each in part["segments"]]
        segments.sort(key=lambda each: each.start_s)
        return Transcript(
            transcript_id=recording.recording_id,
            status=status[0],
            title=recording.options["title"],
            context=recording.options.get("context"),
            duration_s=recording.duration_s,
            text=" ".join(each.text for each in segments),
            channels=recording.channels,
            created_at=recording.created_at,
            tags=recording.options.get("tags", []),
            job_id=recording.job_id,
            error=status[1],
            segments=segments,
            metadata=Metadata(),
        )

    async def recent(
        self, user: Principal, limit: int, cursor: str | None, filters: Mapping[str, Any]
    ) -> Page[TranscriptSummary]:
        """Newest first. What is not finished has no text yet, so it shows only where nothing is filtered."""
        finished = await self._rag.transcripts(user, limit=limit, cursor=cursor, **filters)
        found = finished.data
        if not any(filters.values()):
            done = {each.transcript_id for each in found}
            waiting = await self._recordings.unfinished(user.user_id, limit + 1, cursor)
            found = found + [await self._summary(user, each) for each in waiting if each.recording_id not in done]
        found.sort(key=lambda each: each.transcript_id, reverse=True)
        more = finished.has_more or len(found) > limit
        page = found[:limit]
        return Page(data=page, next_cursor=page[-1].transcript_id if more and page else None, has_more=more)

    async def _summary(self, user: Principal, recording: Recording) -> TranscriptSummary:
        status, error = await self._status(user, recording)
        return TranscriptSummary(
            transcript_id=recording.recording_id,
            status=status,
            title=recording.options["title"],
            context=recording.options.get("context"),
            duration_s=recording.duration_s,
            created_at=recording.created_at,
            tags=recording.options.get("tags", []),
            job_id=recording.job_id,
            error=error,
        )

    async def edit(
        self, user: Principal, recording_id: str, edit: EditTranscript, headers: Mapping[str, str]
    ) -> Transcript:
        recording = await self._recordings.get(recording_id, user.user_id)
        changes = edit.model_dump(exclude_none=True)
        await self._recordings.set_options(recording, recording.options | changes)
        if recording.status != "completed":
            return await self.get(user, recording_id)
        return await self._rag.edit_transcript(user, recording_id, edit, headers)

    async def delete(self, user: Principal, recording_id: str, headers: Mapping[str, str]) -> None:
        """Gone means gone: work in hand, text and vectors, audio, row; in an order that can be redone."""
        recording = await self._recordings.get(recording_id, user.user_id)
        if recording.job_id is not None and recording.status not in TERMINAL:
            await self._coordinator.cancel(user, recording.job_id)
        with suppress(NotFound):
            await self._rag.delete_transcript(user, recording_id, headers)
        await self._blobs.delete(user.user_id, recording_id)
        await self._recordings.delete(recording_id, user.user_id)

    async def audio(self, user: Principal, recording_id: str) -> tuple[Recording, int]:
        """The recording and the size of its audio in bytes."""
        recording = await self._recordings.get(recording_id, user.user_id)
        return recording, await self._blobs.size(user.user_id, recording_id)

    async def audio_bytes(self, user: Principal, recording_id: str, start: int, end: int) -> AsyncIterator[bytes]:
        key = await self._keyring.data_key(user.user_id)
        async for chunk in self._blobs.read(user.user_id, recording_id, key, start, end):
            yield chunk

    async def clip(self, body: MultipartBody) -> ClipTranscript:
        """Speech to text of a short clip, nothing kept."""
        data = b""
        async for chunk in body.file("file", "audio", "audio_file"):
            data += chunk
            if len(data) > self._settings.clip_bytes:
                raise TooLarge(f"A clip may have {self._settings.clip_bytes} bytes; upload longer ones as recordings.")
        sound = await decode(data, limits=DecodeLimits(max_s=600))
        heard = await self.pipeline.in_pool(self.pipeline.engine.transcribe, as_float(sound.mono()))
        return ClipTranscript(
            text=" ".join(each.text for each in heard.segments),
            language=heard.language,
            duration_s=sound.duration_s,
            segments=heard.segments,
            model=self.pipeline.engine.capabilities.model,
        )

    async def delete_owner(self, owner: str) -> None:
        await self._recordings.delete_owner(owner)
        await self._blobs.delete_owner(owner)


def _title_of(filename: str | None) -> str:
    stem = (filename or "").replace("\\", "/").rsplit("/", 1)[-1].rsplit(".", 1)[0]
    printable = "".join(c for c in stem if c.isprintable()).strip()
    return printable[:200] or "Recording"
