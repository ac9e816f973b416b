"""Speakers: enrolled voices, and names for those who are heard in recordings."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from services.api_gateway.relay import Relayed, relay
from services.api_gateway.routes import PROBLEMS, Services
from shared.auth.dependencies import CurrentUser
from shared.schemas.speakers import (
    AssignSpeakers,
    EditSpeaker,
    EnrolledSpeaker,
    Enrolment,
    SpeakerEdited,
    SpeakersAssigned,
    Undone,
)
from shared.schemas.wire import Page

router = APIRouter(prefix="/transcription", tags=["speakers"], responses=PROBLEMS, route_class=Relayed)

ENROL_FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["speaker_id"],
                    "properties": {
                        "audio_file": {"type": "string", "format": "binary"},
                        "speaker_id": {"type": "string"},
                        "name": {"type": "string"},
                        "transcript_id": {"type": "string"},
                        "label": {"type": "string"},
                        "segment_ids": {"type": "string"},
                    },
                }
            }
        },
    }
}


@router.post("/enroll-speaker", response_model=Enrolment, status_code=201, openapi_extra=ENROL_FORM)
async def enroll(request: Request, user: CurrentUser, services: Services) -> Response:
    """A sample of a voice: a file, or a part of a recording by its `transcript_id` with `label` or `segment_ids`.

    More samples of one speaker make recognition better. A voice is never taken for proof of identity.
    """
    return await relay(services.transcription, request, user)


@router.get("/speakers", response_model=Page[EnrolledSpeaker])
async def speakers(request: Request, user: CurrentUser, services: Services) -> Response:
    return await relay(services.transcription, request, user)


@router.get("/speakers/{speaker_id}", response_model=EnrolledSpeaker)
async def speaker(speaker_id: str, request: Request, user: CurrentUser, services: Services) -> Response:
    return await relay(services.transcription, request, user)


@router.patch("/speakers/{speaker_id}", response_model=SpeakerEdited)
async def rename(
    speaker_id: str, change: EditSpeaker, request: Request, user: CurrentUser, services: Services
) -> Response:
    """Another name, in all recordings that carry it; `preview` tells which. Can be taken back."""
    return await relay(services.transcription, request, user, body=change.model_dump_json().encode())


@router.delete("/speakers/{speaker_id}", status_code=204, response_class=Response)
async def delete(speaker_id: str, request: Request, user: CurrentUser, services: Services) -> Response:
    """The voice is erased; recordings keep the name as it was written there."""
    return await relay(services.transcription, request, user)


@router.post("/speakers/undo/{undo_id}", response_model=Undone)
async def undo(undo_id: str, request: Request, user: CurrentUser, services: Services) -> Response:
    """Take back what one naming changed, once."""
    return await relay(services.transcription, request, user)


@router.post("/{transcript_id}/speakers", response_model=SpeakersAssigned)
async def assign(
    transcript_id: str, wanted: AssignSpeakers, request: Request, user: CurrentUser, services: Services
) -> Response:
    """Name who is heard. The answer offers earlier recordings with the same voices, to be named in `relabel`."""
    return await relay(services.transcription, request, user, body=wanted.model_dump_json().encode())
