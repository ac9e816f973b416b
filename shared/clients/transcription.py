"""The transcription service as others see it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp

from shared.auth.principal import Principal
from shared.clients.edits import TranscriptEdits
from shared.clients.vault import VaultDoors
from shared.schemas.transcription import ClipTranscript, EditTranscript, Transcript, TranscriptSummary
from shared.schemas.wire import Page


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

    async def delete_owner(self, user_id: str) -> None:
        await self.json("DELETE", f"/transcription/owner/{user_id}", user=None)
