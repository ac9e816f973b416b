"""The transcription service as others see it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any

import aiohttp

from shared.auth.principal import Principal
from shared.clients.edits import TranscriptEdits
from shared.clients.vault import VaultDoors
from shared.schemas.sync import Changes
from shared.schemas.transcription import ClipTranscript, EditTranscript, StoredSound, Transcript, TranscriptSummary
from shared.schemas.uploads import NewPartialUpload, PartialUpload
from shared.schemas.wire import Page

_UPLOADS = "/transcription/partial-uploads"
_ASSEMBLE_S = 300.0


class TranscriptionClient(TranscriptEdits, VaultDoors):
    service = "transcription"
    transcripts_path = "/transcription"

    async def recent(self, user: Principal, **params: Any) -> Page[TranscriptSummary]:
        found = await self.json("GET", "/transcription/recent", user=user, params=params)
        return Page[TranscriptSummary].model_validate(found)

    async def edit(
        self, user: Principal, transcript_id: str, edit: EditTranscript, headers: Mapping[str, str] | None = None
    ) -> Transcript:
        body = edit.model_dump(mode="json", exclude_none=True)
        path = f"/transcription/{transcript_id}"
        return Transcript.model_validate(await self.json("PATCH", path, user=user, body=body, headers=headers))

    async def delete(self, user: Principal, transcript_id: str, headers: Mapping[str, str] | None = None) -> None:
        await self.json("DELETE", f"/transcription/{transcript_id}", user=user, headers=headers)

    async def clip(self, user: Principal | None, data: bytes) -> ClipTranscript:
        """Speech to text of a short file that is not kept."""
        form = aiohttp.FormData()
        form.add_field("file", data, filename="clip", content_type="application/octet-stream")
        path = "/transcription/clip"
        async with self.stream("POST", path, user=user, content=form, deadline_s=300) as answer:
            return ClipTranscript.model_validate_json(await answer.read())

    async def audio(self, user: Principal, transcript_id: str) -> AsyncIterator[bytes]:
        """The original bytes. Raises NotFound where there is no sound of it."""
        async with self.stream("GET", f"/transcription/{transcript_id}/audio", user=user) as answer:
            async for chunk in answer.content.iter_any():
                yield chunk

    async def require_audio(self, user: Principal, transcript_id: str) -> None:
        """Raises NotFound where there is no sound of it, VaultLocked."""
        path, first = f"/transcription/{transcript_id}/audio", {"Range": "bytes=0-0"}
        async with self.stream("GET", path, user=user, headers=first) as answer:
            await answer.read()

    async def changes(self, user: Principal, after: int, limit: int) -> Changes:
        params = {"after": after, "limit": limit}
        return Changes.model_validate(await self.json("GET", "/transcription/changes", user=user, params=params))

    async def new_upload(self, user: Principal, new: NewPartialUpload) -> PartialUpload:
        found = await self.json("POST", _UPLOADS, user=user, body=new.model_dump(mode="json"))
        return PartialUpload.model_validate(found)

    async def upload_state(self, user: Principal, upload_id: str) -> PartialUpload:
        """One that is whole becomes a recording now if it has not yet."""
        found = await self.json("GET", f"{_UPLOADS}/{upload_id}", user=user, deadline_s=_ASSEMBLE_S)
        return PartialUpload.model_validate(found)

    async def append(self, user: Principal, upload_id: str, offset: int, piece: AsyncIterator[bytes]) -> PartialUpload:
        """Durable when it returns. Raises OffsetConflict, StillRunning, TooLarge, BadRequest where it broke off."""
        path, headers = f"{_UPLOADS}/{upload_id}", {"Content-Type": "application/offset+octet-stream"}
        params = {"offset": offset}
        async with self.stream("PATCH", path, user=user, content=piece, params=params, headers=headers) as answer:
            return PartialUpload.model_validate_json(await answer.read())

    async def delete_upload(self, user: Principal, upload_id: str) -> None:
        await self.json("DELETE", f"{_UPLOADS}/{upload_id}", user=user)

    async def put_sound(self, user: Principal, transcript_id: str, sound: AsyncIterator[bytes]) -> StoredSound:
        """Of a transcript that is in the vault. Raises NotFound, AlreadyExists, Conflict, TooLarge."""
        path = f"/recordings/{transcript_id}/sound"
        async with self.stream("PUT", path, user=user, content=sound) as answer:
            return StoredSound.model_validate_json(await answer.read())

    async def drop_sound(self, user: Principal, transcript_id: str) -> None:
        await self.json("DELETE", f"/recordings/{transcript_id}/sound", user=user)

    async def sounds(self, user: Principal, before: datetime) -> list[str]:
        """Ids of recordings from before that moment whose sound is kept."""
        params = {"before": before.isoformat()}
        found: list[str] = await self.json("GET", "/recordings/sounds", user=user, params=params, deadline_s=120)
        return found

    async def clear(self, user: Principal) -> None:
        """Every recording's sound and every voiceprint."""
        await self.json("DELETE", "/recordings", user=user, deadline_s=120)

    async def delete_owner(self, user_id: str) -> None:
        await self.json("DELETE", f"/transcription/owner/{user_id}", user=None)
