"""Live streams and voice chats."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter, WebSocket

from services.api_gateway.pump import pump
from shared.auth.dependencies import SocketUser

router = APIRouter()


@router.websocket("/transcription/stream")
async def stream(socket: WebSocket, user: SocketUser) -> None:
    """Speech in, words out as it is spoken. The messages are described in docs/live.md."""
    state = socket.app.state
    await pump(state.clients.transcription, socket, user, partial(state.identity_service.still, user, socket.url.path))


@router.websocket("/voice")
async def voice(socket: WebSocket, user: SocketUser) -> None:
    """Questions by voice, answers as text and speech. The messages are described in docs/voice.md."""
    state = socket.app.state
    await state.voices.chat(socket, user, partial(state.identity_service.still, user, socket.url.path))
