"""The sound of recordings, for the service that keeps their texts."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from pydantic import AwareDatetime

from services.transcription.sounds import Sounds
from shared.auth.dependencies import ForUser
from shared.schemas.transcription import StoredSound

router = APIRouter(prefix="/recordings")  # not below `/transcription`, where users name ids


async def the_sounds(request: Request) -> Sounds:
    sounds: Sounds = request.app.state.sounds
    return sounds


TheSounds = Annotated[Sounds, Depends(the_sounds)]


@router.get("/sounds")
async def older(before: AwareDatetime, user: ForUser, sounds: TheSounds) -> list[str]:
    return await sounds.older(user, before)


@router.put("/{transcript_id}/sound", status_code=201)
async def put(transcript_id: str, request: Request, user: ForUser, sounds: TheSounds) -> StoredSound:
    """The body is the file."""
    return await sounds.put(user, transcript_id, request.stream())


@router.delete("/{transcript_id}/sound", status_code=204)
async def drop(transcript_id: str, user: ForUser, sounds: TheSounds) -> None:
    await sounds.drop(user, transcript_id)


@router.delete("", status_code=204)
async def clear(user: ForUser, sounds: TheSounds) -> None:
    await sounds.clear(user)
