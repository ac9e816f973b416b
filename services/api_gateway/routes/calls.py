"""The call-centre family: calls of two people, one a channel."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from services.api_gateway.relay import Relayed, relay
from services.api_gateway.routes import PROBLEMS, Limit, Services
from shared.auth.dependencies import CurrentUser
from shared.schemas.calls import Call, CallAccepted, CallList
from shared.schemas.transcription import Status

router = APIRouter(prefix="/api/v1/transcribe", tags=["calls"], responses=PROBLEMS, route_class=Relayed)
FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["audio"],
                    "properties": {"audio": {"type": "string", "format": "binary"}},
                }
            }
        },
    }
}


@router.post(
    "",
    response_model=Call | CallAccepted,
    openapi_extra=FORM,
    responses={202: {"model": CallAccepted, "description": "Safe on disk; follow Location."}},
)
async def transcribe(
    request: Request, user: CurrentUser, services: Services, wait_s: Annotated[float, Query(ge=0, le=300)] = 60.0
) -> Response:
    """Transcribe a stereo WAV: left is the first channel. The bytes are durable before any model runs."""
    return await relay(services.transcription, request, user)


@router.get("", response_model=CallList)
async def sessions(
    request: Request,
    user: CurrentUser,
    services: Services,
    limit: Limit = 50,
    offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
    status: Status | None = None,
) -> Response:
    """Newest first."""
    return await relay(services.transcription, request, user)


@router.get("/{session_id}", response_model=Call)
async def session(session_id: str, request: Request, user: CurrentUser, services: Services) -> Response:
    return await relay(services.transcription, request, user)
