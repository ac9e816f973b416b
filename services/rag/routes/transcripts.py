"""Transcripts, for the transcription service."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Response

from services.rag import transcripts
from services.rag.routes import Cursor, Limit, TheDeliveries, TheLibrary
from shared.auth.dependencies import ForUser
from shared.errors import Invalid
from shared.etags import IfMatch, mark
from shared.schemas.ids import RecordingId
from shared.schemas.transcription import EditTranscript, Transcript, TranscriptSummary
from shared.schemas.wire import Page, page_of

router = APIRouter(prefix="/rag/transcripts")
Word = Annotated[str | None, Query(max_length=200)]


@router.put("/{transcript_id}")
async def put(
    transcript_id: RecordingId,
    transcript: Transcript,
    user: ForUser,
    deliveries: TheDeliveries,
    remember: bool = True,
) -> Transcript:
    """Store or replace; durable when answered, and then found by search unless `remember` is false."""
    if transcript.transcript_id != transcript_id:
        raise Invalid("The id in the body is not the id in the address.")
    return await deliveries.transcript(user.user_id, transcript, remember=remember)


@router.get("")
async def page(
    user: ForUser,
    library: TheLibrary,
    limit: Limit = 50,
    cursor: Cursor = None,
    q: Word = None,
    speaker: Word = None,
    tag: Word = None,
    emotion: Word = None,
    from_: Annotated[datetime | None, Query(alias="from")] = None,
    to: datetime | None = None,
) -> Page[TranscriptSummary]:
    filters = {"q": q, "speaker": speaker, "tag": tag, "emotion": emotion, "from": from_, "to": to}
    found = await library.run(user.user_id, lambda vault: transcripts.page(vault, limit + 1, cursor, filters))
    return page_of(found, limit, lambda each: each.transcript_id)


@router.get("/{transcript_id}")
async def get(transcript_id: str, user: ForUser, library: TheLibrary, response: Response) -> Transcript:
    found = await library.run(user.user_id, lambda vault: transcripts.get(vault, transcript_id))
    mark(response, found.revision)
    return found


@router.patch("/{transcript_id}")
async def edit(
    transcript_id: str,
    change: EditTranscript,
    user: ForUser,
    library: TheLibrary,
    expected: IfMatch,
    response: Response,
) -> Transcript:
    changed = await library.run(user.user_id, lambda vault: transcripts.edit(vault, transcript_id, change, expected))
    mark(response, changed.revision)
    return changed


@router.delete("/{transcript_id}", status_code=204)
async def delete(transcript_id: str, user: ForUser, library: TheLibrary, expected: IfMatch) -> None:
    await library.run(user.user_id, lambda vault: transcripts.delete(vault, transcript_id, expected))
    await library.deletions.record(user.user_id, "transcript", transcript_id)
