"""Summaries, for the chat service, which makes them."""

from __future__ import annotations

from fastapi import APIRouter

from services.rag import summaries
from services.rag.routes import TheLibrary
from shared.auth.dependencies import ForUser
from shared.errors import Invalid
from shared.schemas.ids import RecordingId
from shared.schemas.summaries import Summary

router = APIRouter(prefix="/rag/transcripts")


@router.put("/{transcript_id}/summary", status_code=204)
async def put(transcript_id: RecordingId, summary: Summary, user: ForUser, library: TheLibrary) -> None:
    """Store or replace; durable when answered."""
    if summary.transcript_id != transcript_id:
        raise Invalid("The id in the body is not the id in the address.")
    await library.run(user.user_id, lambda vault: summaries.put(vault, summary))


@router.get("/{transcript_id}/summary")
async def get(transcript_id: str, user: ForUser, library: TheLibrary) -> Summary:
    return await library.run(user.user_id, lambda vault: summaries.get(vault, transcript_id))
