"""The live stream."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from fastapi import APIRouter, WebSocket
from pydantic import ValidationError
from starlette.websockets import WebSocketDisconnect

from services.transcription.live import Room, failed
from services.transcription.outbox import Closed, Outbox
from services.transcription.session import Session
from shared.auth.dependencies import ForUser
from shared.errors import Invalid, ProductError
from shared.schemas.live import CLOSE_REFUSED, SAID, Failed, Flush, Start, Stop

router = APIRouter(prefix="/transcription")
START_S = 30.0
"""How long a client may take to say what it will send."""
SEND_S = 20.0
"""How long one event may take to be taken."""
MOST_TEXT = 16_384
INTERNAL = 1011


@router.websocket("/stream")
async def stream(socket: WebSocket, user: ForUser) -> None:
    """Sound in, words out; see docs/live.md."""
    await socket.accept()
    room: Room = socket.app.state.room
    outbox = Outbox()
    sending = asyncio.create_task(_send(socket, outbox))
    hearing = asyncio.create_task(_hear(socket, room, user.user_id, outbox))
    try:
        await asyncio.wait({sending, hearing}, return_when=asyncio.FIRST_COMPLETED)
        if hearing.done() and not sending.done():
            outbox.end(hearing.result())
            await asyncio.wait({sending}, timeout=SEND_S)
    finally:
        for each in (sending, hearing):
            each.cancel()
        await asyncio.gather(sending, hearing, return_exceptions=True)


async def _send(socket: WebSocket, outbox: Outbox) -> None:
    """Until the outbox says that it is over."""
    try:
        while True:
            event = await outbox.get()
            async with asyncio.timeout(SEND_S):
                await socket.send_text(event.model_dump_json(exclude_none=True))
    except Closed as closed:
        with suppress(RuntimeError, TimeoutError):
            await asyncio.wait_for(socket.close(closed.code), 5)
    except (WebSocketDisconnect, RuntimeError, TimeoutError, OSError):
        return


async def _hear(socket: WebSocket, room: Room, owner: str, outbox: Outbox) -> int:
    """The code to close with."""
    session: Session | None = None
    try:
        start = await _start(socket)
        session = await room.open(owner, start, outbox)
        return await _conversation(socket, room, session, outbox)
    except ProductError as error:
        outbox.put(failed(error))
        return CLOSE_REFUSED if error.status < 500 else INTERNAL
    except (WebSocketDisconnect, TimeoutError):
        return 1000
    finally:
        if session is not None:
            await asyncio.shield(room.leave(session, outbox))


async def _start(socket: WebSocket) -> Start:
    """Raises Invalid for anything else than `start`."""
    async with asyncio.timeout(START_S):
        message = await _message(socket)
    said = _said(message.get("text"))
    if not isinstance(said, Start):
        raise Invalid('Say first what you will send: {"type": "start", "sample_rate_hz": 16000, "channels": 1}.')
    return said


async def _conversation(socket: WebSocket, room: Room, session: Session, outbox: Outbox) -> int:
    while True:
        message = await _message(socket)
        if message.get("bytes") is not None:
            if not await room.hear(session, outbox, message["bytes"]):
                await room.stop(session)
                return 1000
            continue
        try:
            said = _said(message.get("text"))
        except Invalid as error:  # a slip in a message is no reason to lose the stream
            outbox.put(failed(error))
            continue
        if isinstance(said, Stop):
            await room.stop(session)
            return 1000
        if isinstance(said, Flush):
            await room.flush(session)
        else:
            outbox.put(Failed(code="invalid", detail="The stream has started already."))


async def _message(socket: WebSocket) -> dict[str, Any]:
    message = dict(await socket.receive())
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1000))
    return message


def _said(text: str | None) -> Start | Flush | Stop:
    """Raises Invalid; never repeats what was sent."""
    if text is None or len(text) > MOST_TEXT:
        raise Invalid("A text message with JSON was expected here.")
    try:
        return SAID.validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = "/".join(str(each) for each in first["loc"])
        raise Invalid(f"The message cannot be understood: {place or 'JSON'}: {first['msg'][:200]}.") from error
