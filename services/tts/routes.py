"""HTTP of the text to speech service; the gateway has these routes below `/v1`, where errors have another shape."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from services.tts.encoding import MEDIA_TYPES
from services.tts.service import Speaking
from shared.auth.dependencies import ForUser
from shared.errors import ProductError
from shared.problems import openai_envelope
from shared.schemas.tts import SpeechDelta, SpeechDone, SpeechRequest, VoiceList
from shared.schemas.wire import Wire

log = logging.getLogger(__name__)
router = APIRouter(prefix="/speaking")
Pieces = AsyncGenerator[bytes]


async def the_speaking(request: Request) -> Speaking:
    speaking: Speaking = request.app.state.speaking
    return speaking


TheSpeaking = Annotated[Speaking, Depends(the_speaking)]


@router.post("/speech", response_class=Response)
async def speech(spoken: SpeechRequest, user: ForUser, speaking: TheSpeaking, request: Request) -> Response:
    """The sound of a text, streamed sentence by sentence; what is wrong is answered before the first."""
    pieces = speaking.speech(user, spoken)
    first = await anext(pieces)
    whole, kind = _joined(first, pieces), MEDIA_TYPES[spoken.response_format]
    if spoken.stream_format == "sse":
        whole, kind = _events(whole), "text/event-stream"
    return Spoken(whole, kind, request.app.state.settings.answer_deadline_s)


@router.get("/voices")
async def voices(user: ForUser, speaking: TheSpeaking) -> VoiceList:
    """Who can speak here."""
    return await speaking.voices()


class Spoken(StreamingResponse):
    """A stream that ends with its reader, and with its deadline: who does not read keeps no place for ever."""

    def __init__(self, pieces: Pieces, media_type: str, deadline_s: float) -> None:
        super().__init__(pieces, media_type=media_type)
        self._pieces, self._deadline_s = pieces, deadline_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._pieces):
            try:
                async with asyncio.timeout(self._deadline_s):
                    await super().__call__(scope, receive, send)
            except TimeoutError:  # the connection breaks off, which the reader can tell from an end
                log.warning("an answer was not read within its deadline")


async def _joined(first: bytes, rest: Pieces) -> Any:
    async with aclosing(rest):
        yield first
        async for piece in rest:
            yield piece


async def _events(pieces: Pieces) -> Any:
    """The sound in pieces and its end; an error in the middle is the last."""
    async with aclosing(pieces):
        try:
            async for piece in pieces:
                yield _event(SpeechDelta(audio=base64.b64encode(piece).decode()))
            yield _event(SpeechDone())
        except ProductError as error:
            yield _data(json.dumps(openai_envelope(error)))
        except Exception as error:  # the status is sent; an event is what is left to say it with
            log.exception("a stream of speech failed", extra={"kind": type(error).__name__})
            yield _data(json.dumps(openai_envelope(ProductError())))


def _event(told: Wire) -> bytes:
    return _data(told.model_dump_json())


def _data(text: str) -> bytes:
    return f"data: {text}\n\n".encode()
