"""Text to speech, in the words of OpenAI's API."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from services.api_gateway.relay import relay
from services.api_gateway.routes import PROBLEMS, Services
from shared.auth.dependencies import CurrentUser
from shared.clients.tts import PATH
from shared.schemas.tts import SpeechRequest, VoiceList

router = APIRouter(prefix="/v1/audio", tags=["speech"], responses=PROBLEMS)


@router.post(
    "/speech",
    response_class=Response,
    responses={200: {"content": {"audio/*": {"schema": {"type": "string", "format": "binary"}}}}},
)
async def speech(spoken: SpeechRequest, request: Request, user: CurrentUser, services: Services) -> Response:
    """A text as sound, streamed as it is made; with `stream_format=sse` as OpenAI's events."""
    return await relay(services.tts, request, user, path=PATH, body=spoken.model_dump_json().encode())


@router.get("/voices")
async def voices(user: CurrentUser, services: Services) -> VoiceList:
    """The first one is the default."""
    return await services.tts.voices(user)
