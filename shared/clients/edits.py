"""Edits of transcripts, which the vault does and the services in front of it pass on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel

from shared.auth.principal import Principal
from shared.clients import ServiceClient
from shared.schemas.edits import EditSegment, MergeSegments, Revert, Revision, SplitSegment
from shared.schemas.transcription import Transcript
from shared.schemas.wire import Page

DEADLINE_S = 120
"""A revert of some hours of speech embeds all of it anew."""


class TranscriptEdits(ServiceClient):
    """`headers` may hold If-Match; all that change something raise PreconditionFailed, NotFound, Conflict, Invalid."""

    transcripts_path: ClassVar[str]

    async def edit_segment(
        self,
        user: Principal,
        transcript_id: str,
        segment_id: str,
        change: EditSegment,
        headers: Mapping[str, str] | None = None,
    ) -> Transcript:
        return await self._changed("PATCH", f"{transcript_id}/segments/{segment_id}", user, change, headers)

    async def split_segment(
        self,
        user: Principal,
        transcript_id: str,
        segment_id: str,
        where: SplitSegment,
        headers: Mapping[str, str] | None = None,
    ) -> Transcript:
        return await self._changed("POST", f"{transcript_id}/segments/{segment_id}/split", user, where, headers)

    async def merge_segments(
        self,
        user: Principal,
        transcript_id: str,
        segment_id: str,
        how: MergeSegments,
        headers: Mapping[str, str] | None = None,
    ) -> Transcript:
        return await self._changed("POST", f"{transcript_id}/segments/{segment_id}/merge", user, how, headers)

    async def revert(
        self, user: Principal, transcript_id: str, to: Revert, headers: Mapping[str, str] | None = None
    ) -> Transcript:
        return await self._changed("POST", f"{transcript_id}/revert", user, to, headers)

    async def revisions(self, user: Principal, transcript_id: str) -> Page[Revision]:
        found = await self.json("GET", f"{self.transcripts_path}/{transcript_id}/revisions", user=user)
        return Page[Revision].model_validate(found)

    async def revision(self, user: Principal, transcript_id: str, revision: int) -> Transcript:
        found = await self.json("GET", f"{self.transcripts_path}/{transcript_id}/revisions/{revision}", user=user)
        return Transcript.model_validate(found)

    async def _changed(
        self, method: str, path: str, user: Principal, change: BaseModel, headers: Mapping[str, str] | None
    ) -> Transcript:
        body: Any = change.model_dump(mode="json", exclude_unset=True)
        whole = f"{self.transcripts_path}/{path}"
        found = await self.json(method, whole, user=user, body=body, headers=headers, deadline_s=DEADLINE_S)
        return Transcript.model_validate(found)
