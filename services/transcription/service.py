"""What users do with recordings."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from services.transcription import options as upload_options
from services.transcription.pipeline import Pipeline
from services.transcription.repository import Recording, Recordings
from services.transcription.settings import Settings
from shared.audio.decode import DecodeLimits, as_float, decode
from shared.audio.media_types import HEAD_BYTES, media_type_of
from shared.auth.principal import Principal
from shared.clients.gpu_coordinator import CoordinatorClient
from shared.clients.rag import RagClient
from shared.errors import AudioUnreadable, Conflict, NotFound, PreconditionFailed, ProductError, VaultLocked
from shared.multipart import MultipartBody
from shared.schemas.coordinator import SubmitTask
from shared.schemas.ids import new_id
from shared.schemas.live import Start
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
from shared.storage.deletions import Deletions
from shared.storage.journal import Journals
from shared.storage.keyring import Keyring

log = logging.getLogger(__name__)
TRANSCRIBE = "transcribe"
LIVE = "live"
"""Status of a recording whose sound is still coming."""
TIDY_S = 15.0
DELETE_S = 120.0
"""How long a deletion is kept open for a worker that has not noticed yet; leases end long before."""
CLIP_S = 600.0
MOST_LIVE_BYTES_S = 48_000 * 2 * 2
TERMINAL = ("completed", "failed", "cancelled")


@dataclass(frozen=True)
class Family:
    """Recordings that come by routes of their own."""

    name: str
    checked: Callable[[AsyncIterator[bytes]], AsyncIterator[bytes]]
    """The same bytes; raises what is wrong with them, at the latest behind the last."""
    most_bytes: int
    options: Mapping[str, Any]
    """Hold over what the user says."""


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
        journals: Journals,
    ) -> None:
        self._settings, self.recordings, self._blobs, self.keyring = settings, recordings, blobs, keyring
        self._journals, self._coordinator, self._rag, self.pipeline = journals, coordinator, rag, pipeline
        self.deletions = Deletions(settings.data_dir / "deletions")

    async def upload(self, user: Principal, body: MultipartBody, family: Family | None = None) -> UploadAccepted:
        """Bytes, row and task are durable when it returns; nothing is left behind when it raises."""
        recording_id = new_id("rec")
        key = await self.keyring.data_key(user.user_id)
        try:
            chunks = body.file("file", "audio", "audio_file")
            most = self._settings.max_upload_bytes
            if family is not None:
                chunks, most = family.checked(chunks), min(most, family.most_bytes)
            info = await self._blobs.write(user.user_id, recording_id, key, chunks, max_bytes=most)
            if info.size_bytes == 0:
                raise AudioUnreadable("The file is empty.")
            values = self.described(body.fields, body.filename, body.content_type)
            await self.recordings.add(
                recording_id,
                user.user_id,
                values | (dict(family.options) if family else {}),
                size_bytes=info.size_bytes,
                sha256=info.sha256,
                family=family.name if family else None,
            )
            job_id = await self._submit(recording_id, user.user_id)
        except BaseException:
            await self.discard(user.user_id, recording_id)
            raise
        return UploadAccepted(transcript_id=recording_id, job_id=job_id, status="queued")

    def described(self, fields: Mapping[str, str], filename: str | None, content_type: str | None) -> dict[str, Any]:
        """What is said of a recording, checked. Raises Invalid."""
        options = upload_options.read(fields, self.pipeline.capabilities)
        values = options.model_dump() | {"filename": filename, "content_type": content_type}
        return values | {"title": options.title or _title_of(filename)}

    async def assemble(
        self, owner: str, recording_id: str, upload_id: str, sound: AsyncIterator[bytes], values: Mapping[str, Any]
    ) -> str:
        """A recording of an upload that came in pieces: as if it had come in one. Its job."""
        key = await self.keyring.data_key(owner)
        info = await self._blobs.write(owner, recording_id, key, sound, max_bytes=self._settings.max_upload_bytes)
        await self.recordings.add(
            recording_id, owner, values, size_bytes=info.size_bytes, sha256=info.sha256, upload_id=upload_id
        )
        return await self._submit(recording_id, owner)

    async def job_of(self, user: Principal, recording_id: str) -> str:
        """Raises NotFound where the recording was deleted."""
        recording = await self.recordings.get(recording_id, user.user_id)
        return recording.job_id or await self._submit(recording_id, user.user_id)

    async def begin(self, owner: str, start: Start, digest: str) -> Recording:
        """A live recording, durable before its first sound. `digest`: of the secret that resumes it."""
        recording_id, values = new_id("rec"), self._live_options(start, digest)
        await self.recordings.add(recording_id, owner, values, size_bytes=0, sha256="", status=LIVE)
        return await self.recordings.get(recording_id, owner)

    def unkept(self, owner: str, start: Start) -> Recording:
        """One that only the memory of this process will know."""
        return Recording(
            recording_id=new_id("rec"), owner=owner, status=LIVE, job_id=None, options=self._live_options(start, ""),
            size_bytes=0, duration_s=None, channels=start.channels, error=None, error_code=None,
            created_at=datetime.now(UTC),
        )  # fmt: skip

    def _live_options(self, start: Start, digest: str) -> dict[str, Any]:
        fields = start.model_dump(
            exclude_none=True, include=set(upload_options.UploadOptions.model_fields) - {"channels"}
        )
        values = upload_options.checked(fields, self.pipeline.capabilities).model_dump()
        values["title"] = start.title or f"Live recording of {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
        values["channels"] = "separate" if start.channels > 1 else "mono"
        live = {"rate_hz": start.sample_rate_hz, "channels": start.channels, "resume": digest}
        values["live"] = live | {"keep": start.keep, "quiet": start.quiet}
        return values

    async def adopt(self, recording: Recording, sound: AsyncIterator[bytes]) -> str:
        """A live recording has ended: from now on it is as if it had been uploaded. Its job."""
        key = await self.keyring.data_key(recording.owner)
        most = self._settings.max_upload_bytes + int(self._settings.max_duration_s * MOST_LIVE_BYTES_S)
        info = await self._blobs.write(recording.owner, recording.recording_id, key, sound, max_bytes=most)
        if not await self.recordings.set_stored(recording.recording_id, info.size_bytes, info.sha256):
            await self._blobs.delete(recording.owner, recording.recording_id)  # deleted meanwhile
            raise NotFound
        self._journals.delete(recording.owner, recording.recording_id)
        return await self._submit(recording.recording_id, recording.owner)

    async def unlocked(self, owner: str) -> None:
        """What waited for the key goes on."""
        with suppress(ProductError):  # it would by itself, a minute later
            await self._coordinator.wake_owner(owner)

    async def discard(self, owner: str, recording_id: str) -> None:
        """Whatever there is of it by now; the error that led here is the one to tell."""
        with suppress(ProductError):
            await self._blobs.delete(owner, recording_id)
            self._journals.delete(owner, recording_id)
        with suppress(ProductError):
            await self.recordings.delete(recording_id, owner)

    async def _submit(self, recording_id: str, owner: str) -> str:
        task = await self._coordinator.submit(
            SubmitTask(
                kind=TRANSCRIBE,
                payload={"recording_id": recording_id, "owner": owner},
                owner=owner,
                idempotency_key=recording_id,
            )
        )
        await self.recordings.set_job(recording_id, task.task_id)
        return task.task_id

    async def tidy(self) -> None:
        """For ever: what a dead process left half done is done, uploads without a task and deletions."""
        while True:
            try:
                for recording_id, owner in await self.recordings.without_job(older_than_s=30):
                    await self._submit(recording_id, owner)
                for recording_id, owner in await self.recordings.deleting(older_than_s=DELETE_S):
                    with suppress(VaultLocked):  # its text is deleted once it can be reached
                        await self._erase(Principal(owner), recording_id)
                        await self.recordings.delete(recording_id, owner)
            except ProductError:
                log.warning("tidying up was put off")
            except Exception as error:  # a bug here must not end the tidying for good
                log.exception("tidying up failed", extra={"kind": type(error).__name__})
            await asyncio.sleep(TIDY_S)

    async def wait(self, user: Principal, recording_id: str, wait_s: float) -> Transcript:
        """The transcript once it is finished, or as it is after `wait_s` seconds."""
        began = asyncio.get_running_loop().time()
        while True:
            status = await self.recordings.status(recording_id, user.user_id)
            passed_s = asyncio.get_running_loop().time() - began
            if status in TERMINAL or passed_s >= wait_s:
                found = await self.get(user, recording_id)
                if found.status in TERMINAL or passed_s >= wait_s:  # the row ends a moment before its task does
                    return found
            # Short recordings are looked at often, long ones now and then.
            await asyncio.sleep(min(max(0.05, passed_s / 20), 1.0, wait_s - passed_s))

    async def get(self, user: Principal, recording_id: str) -> Transcript:
        recording = await self.recordings.get(recording_id, user.user_id)
        if recording.status == "completed":
            return await self._rag.transcript(user, recording_id)
        status = await self._status(user, recording)
        return await self._unfinished(recording, status)

    async def _status(self, user: Principal, recording: Recording) -> tuple[Any, str | None]:
        """The queue knows of a cancelled, dead or repeated task what the row cannot."""
        known = recording.status, recording.error
        if recording.job_id is None or recording.status == "completed":
            return known
        try:
            job = await self._coordinator.job(user, recording.job_id)
        except ProductError:
            return known
        if job.state == "queued":
            return "queued", None
        if job.state == "running":
            return "processing", None
        if job.state == "cancelled":
            known = "cancelled", None
        elif job.state in ("failed", "dead"):
            known = "failed", recording.error or job.error
        if known[0] != recording.status:
            await self.recordings.set_status(recording.recording_id, *known)
        return known

    async def _unfinished(self, recording: Recording, status: tuple[Any, str | None]) -> Transcript:
        """What there is so far: the text of the chunks that are done."""
        hidden = bool(recording.options.get("redact"))
        parts = {} if hidden else await self.recordings.parts(recording, "asr")
        parts = parts or ({} if hidden else await self.recordings.parts(recording, "live"))
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
            error_code=recording.error_code if status[0] == "failed" else None,
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
            waiting = await self.recordings.unfinished(user.user_id, limit + 1, cursor)
            new = [self._summary(user, each) for each in waiting if each.recording_id not in done]
            found = found + list(await asyncio.gather(*new))
        found.sort(key=lambda each: each.transcript_id, reverse=True)
        more = finished.has_more or len(found) > limit
        page = found[:limit]
        return Page(data=page, next_cursor=page[-1].transcript_id if more and page else None, has_more=more)

    async def of_family(
        self, user: Principal, family: str, *, limit: int, offset: int, status: str | None
    ) -> list[TranscriptSummary]:
        found = await self.recordings.of_family(user.user_id, family, limit=limit, offset=offset, status=status)
        return list(await asyncio.gather(*(self._summary(user, each) for each in found)))

    async def require_family(self, user: Principal, recording_id: str, family: str) -> None:
        """Raises NotFound, also for a recording that came by other routes."""
        if (await self.recordings.get(recording_id, user.user_id)).family != family:
            raise NotFound

    async def unfinished(self, user: Principal, recording_id: str) -> TranscriptSummary | None:
        """Its line in the list; None where it is completed and the vault has it. Raises NotFound."""
        recording = await self.recordings.get(recording_id, user.user_id)
        return None if recording.status == "completed" else await self._summary(user, recording)

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
        recording = await self.recordings.get(recording_id, user.user_id)
        changes = edit.model_dump(exclude_none=True)
        await self.recordings.set_options(recording, recording.options | changes)
        if recording.status != "completed":
            return await self.get(user, recording_id)
        return await self._rag.edit_transcript(user, recording_id, edit, headers)

    async def vault_of(self, user: Principal, recording_id: str) -> RagClient:
        """Where the transcript is edited. Raises NotFound; Conflict while the pipeline still works at it."""
        status = await self.recordings.status(recording_id, user.user_id)
        if status != "completed":
            raise Conflict(f"The transcript is {status}; it can be edited once it is completed.")
        return self._rag

    async def delete(self, user: Principal, recording_id: str, expected: int | None) -> None:
        """Gone means gone: the work in hand, the audio, the text and vectors, the row.

        What a crash or a dead service leaves undone, `tidy` does; a worker that is still at it saves nothing more.
        """
        if await self.recordings.is_deleting(recording_id, user.user_id):
            await self._erase(user, recording_id)
            return
        recording = await self.recordings.get(recording_id, user.user_id)
        if expected is not None and (await self.get(user, recording_id)).revision != expected:
            raise PreconditionFailed
        working = recording.job_id is not None and recording.status not in TERMINAL
        await self.recordings.set_deleting(recording_id, user.user_id)
        await self.deletions.record(user.user_id, "transcript", recording_id)
        if working and recording.job_id is not None:
            with suppress(ProductError):
                await self._coordinator.cancel(user, recording.job_id)
        await self._erase(user, recording_id)
        if not working:
            await self.recordings.delete(recording_id, user.user_id)

    async def _erase(self, user: Principal, recording_id: str) -> None:
        await self._blobs.delete(user.user_id, recording_id)
        self._journals.delete(user.user_id, recording_id)
        with suppress(NotFound):
            await self._rag.delete_transcript(user, recording_id)

    async def audio(self, user: Principal, recording_id: str) -> tuple[int, str]:
        """Size in bytes and media type of what was uploaded."""
        await self.recordings.status(recording_id, user.user_id)
        size = await self._blobs.size(user.user_id, recording_id)
        head = b"".join([each async for each in self.audio_bytes(user, recording_id, 0, HEAD_BYTES)])
        return size, media_type_of(head)

    async def audio_bytes(self, user: Principal, recording_id: str, start: int, end: int) -> AsyncIterator[bytes]:
        key = await self.keyring.data_key(user.user_id)
        async for chunk in self._blobs.read(user.user_id, recording_id, key, start, end):
            yield chunk

    async def clip(self, body: MultipartBody) -> ClipTranscript:
        """Speech to text of a short clip, nothing kept."""
        most = self._settings.clip_bytes
        detail = f"A clip may have {most} bytes; upload longer ones as recordings."
        data = await body.whole("file", "audio", "audio_file", most=most, detail=detail)
        sound = await decode(data, limits=DecodeLimits(max_s=CLIP_S))
        heard, model = await self.pipeline.clip(as_float(sound.mono()))
        return ClipTranscript(
            text=" ".join(each.text for each in heard.segments),
            language=heard.language,
            duration_s=sound.duration_s,
            segments=heard.segments,
            model=model,
        )

    async def delete_owner(self, owner: str) -> None:
        self.keyring.lock(owner)
        await self.recordings.delete_owner(owner)
        await self.pipeline.voices.speakers.delete_owner(owner)
        await self._blobs.delete_owner(owner)


def _title_of(filename: str | None) -> str:
    stem = (filename or "").replace("\\", "/").rsplit("/", 1)[-1].rsplit(".", 1)[0]
    printable = "".join(c for c in stem if c.isprintable()).strip()
    return printable[:200] or "Recording"
