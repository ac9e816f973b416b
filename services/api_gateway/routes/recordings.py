"""Recordings and transcripts."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from services.api_gateway.relay import Relayed, relay
from services.api_gateway.routes import PROBLEMS, Cursor, Limit, Services, TheIdentity, Word
from services.api_gateway.service import LINK_S
from shared.auth.dependencies import CurrentUser, LinkedUser
from shared.etags import Conditions, mark
from shared.schemas.transcription import (
    AudioLink,
    EditTranscript,
    ExportFormat,
    Transcript,
    TranscriptSummary,
    UploadAccepted,
    Waveform,
)
from shared.schemas.wire import Page

router = APIRouter(prefix="/transcription", tags=["recordings"], responses=PROBLEMS, route_class=Relayed)

_FILE = {"type": "string", "format": "binary"}
_SWITCH = {"type": "boolean", "default": True}
UPLOAD_FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": _FILE,
                        "title": {"type": "string"},
                        "context": {"type": "string"},
                        "language": {"type": "string"},
                        "diarize": _SWITCH,
                        "num_speakers": {"type": "integer"},
                        "min_speakers": {"type": "integer"},
                        "max_speakers": {"type": "integer"},
                        "channels": {"type": "string", "enum": ["auto", "mono", "separate"]},
                        "channel_labels": {"type": "string"},
                        "hotwords": {"type": "string"},
                        "tags": {"type": "string"},
                        "emotion": _SWITCH,
                        "remember": _SWITCH,
                    },
                }
            }
        },
    }
}


@router.post(
    "/upload",
    response_model=Transcript | UploadAccepted,
    openapi_extra=UPLOAD_FORM,
    status_code=201,
    responses={202: {"model": UploadAccepted, "description": "Safe on disk; follow Location for its progress."}},
)
async def upload(
    request: Request, user: CurrentUser, services: Services, wait_s: Annotated[float, Query(ge=0, le=300)] = 60.0
) -> Response:
    """Transcribe a recording. The bytes are durable before any model runs."""
    return await relay(services.transcription, request, user)


@router.get("/recent")
async def recent(
    user: CurrentUser,
    services: Services,
    limit: Limit = 10,
    cursor: Cursor = None,
    q: Word = None,
    speaker: Word = None,
    tag: Word = None,
    emotion: Word = None,
    from_: Annotated[datetime | None, Query(alias="from")] = None,
    to: datetime | None = None,
) -> Page[TranscriptSummary]:
    """Newest first; those in work too."""
    filters = {"q": q, "speaker": speaker, "tag": tag, "emotion": emotion}
    times = {"from": from_.isoformat() if from_ else None, "to": to.isoformat() if to else None}
    return await services.transcription.recent(user, limit=limit, cursor=cursor, **filters, **times)


@router.get("/{transcript_id}", response_model=Transcript)
async def transcript(transcript_id: str, request: Request, user: CurrentUser, services: Services) -> Response:
    return await relay(services.transcription, request, user)


@router.patch("/{transcript_id}")
async def edit(
    transcript_id: str,
    change: EditTranscript,
    user: CurrentUser,
    services: Services,
    if_match: Conditions,
    response: Response,
) -> Transcript:
    """Rename or tag."""
    changed = await services.transcription.edit(user, transcript_id, change, if_match)
    mark(response, changed.revision)
    return changed


@router.delete("/{transcript_id}", status_code=204)
async def delete(transcript_id: str, user: CurrentUser, services: Services, if_match: Conditions) -> None:
    """Audio, text and vectors are gone when this answers."""
    await services.transcription.delete(user, transcript_id, if_match)


@router.post("/{transcript_id}/audio-link", status_code=201)
async def audio_link(transcript_id: str, user: CurrentUser, services: Services, identity: TheIdentity) -> AudioLink:
    """An address for `<audio src>`, for a quarter of an hour. It ends with the session."""
    await services.transcription.require_audio(user, transcript_id)
    return AudioLink(url=identity.audio_link(user, transcript_id), expires_in=LINK_S)


@router.get(
    "/{transcript_id}/audio",
    response_class=Response,
    responses={200: {"content": {"audio/*": {"schema": _FILE}}}, 206: {"description": "The range asked for."}},
)
async def audio(transcript_id: str, request: Request, user: LinkedUser, services: Services) -> Response:
    """The bytes that were uploaded; takes `Range`, and `link` in place of the Authorization header."""
    return await relay(services.transcription, request, user)


@router.get("/{transcript_id}/peaks", response_model=Waveform)
async def peaks(
    transcript_id: str,
    request: Request,
    user: CurrentUser,
    services: Services,
    points: Annotated[int, Query(ge=1, le=20_000)] = 1000,
) -> Response:
    """The waveform, drawn by the server: lowest and highest value of each point, per channel."""
    return await relay(services.transcription, request, user)


@router.get("/{transcript_id}/export", response_class=Response)
async def export(
    transcript_id: str,
    request: Request,
    user: CurrentUser,
    services: Services,
    form: Annotated[ExportFormat, Query(alias="format")] = "json",
    words: bool = False,
) -> Response:
    """The transcript for other programs. `words`: the time of every word, in vtt and csv."""
    return await relay(services.transcription, request, user)
