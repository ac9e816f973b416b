"""The WebSocket of a voice chat: who may open one, what its client says, and how it ends."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from pydantic import ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect

from services.api_gateway.clients import Clients
from services.api_gateway.dialogue import Dialogue
from services.api_gateway.outgoing import Closed, Outgoing
from services.api_gateway.pump import LAST_WORD_S, TRY_AGAIN, watch
from services.api_gateway.settings import Settings
from shared.auth.principal import Principal
from shared.errors import Busy, Forbidden, Invalid, ProductError, TooLarge
from shared.schemas.voice import (
    CLOSE_REFUSED,
    CLOSE_TOO_LARGE,
    CLOSE_TOO_SLOW,
    FRAME_BYTES,
    VOICE_SAID,
    FlushVoice,
    Interrupt,
    StartVoice,
    StopVoice,
    Talk,
    VoiceFailed,
)

log = logging.getLogger(__name__)
START_S, SEND_S, CLOSE_S = 30.0, 20.0, 5.0
MOST_TEXT = 4096
INTERNAL = 1011
SCOPES = frozenset(("chat", "recordings", "speech"))
Said = StartVoice | Talk | FlushVoice | Interrupt | StopVoice
WHAT_TO_SAY = 'Say first what you will send: {"type": "start", "mode": "push", "sample_rate_hz": 16000}.'
TOO_LONG = "This is as long as a voice chat may be; begin another one, with its conversation_id to go on."
TOO_WIDE = f"A frame of sound has at most {FRAME_BYTES} bytes; send shorter ones, 100 ms is a good length."
HALF = "A frame must hold whole samples of 16 bit; this one was left out."
BY_SILENCE = "`talk` belongs to the mode push; where the hands are free, `flush` ends a question."


class Voices:
    """All voice chats of this process."""

    def __init__(self, settings: Settings, clients: Clients) -> None:
        self._settings, self._clients = settings, clients
        self._open: Counter[str] = Counter()

    async def chat(self, socket: WebSocket, user: Principal, still: Callable[[], Principal]) -> None:
        """Until either side closes. Raises Forbidden before anything was accepted."""
        may(user)
        await socket.accept()
        connection = Connection(self._settings, self._clients, socket, user)
        if self._open[user.user_id] >= self._settings.voice_sessions:
            await connection.refuse(Busy("You have as many voice chats open as one user may; close one of them first."))
            return
        self._open[user.user_id] += 1
        try:
            await connection.run(lambda: may(still()))
        finally:
            self._open[user.user_id] -= 1
            self._open += Counter()  # drops those at zero


def may(user: Principal) -> None:
    """Raises Forbidden for a token that could not do the same by the routes of each part."""
    if missing := sorted(SCOPES - user.scopes):
        raise Forbidden(f"A voice chat needs the scopes {sorted(SCOPES)}; this token lacks {', '.join(missing)}.")


class Connection:
    """One client."""

    def __init__(self, settings: Settings, clients: Clients, socket: WebSocket, user: Principal) -> None:
        self._settings, self._clients, self._socket, self._user = settings, clients, socket, user
        self._out = Outgoing()
        self._dialogue: Dialogue | None = None

    async def refuse(self, error: ProductError) -> None:
        self._tell(error)
        self._out.end(TRY_AGAIN)
        await self._send()

    async def run(self, still: Callable[[], None]) -> None:
        """To the end of the connection, which ends all that was begun for it."""
        hearing, watching, sending = (asyncio.create_task(each) for each in (self._hear(), watch(still), self._send()))
        tasks = (hearing, watching, sending)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                self._out.forget()
                self._out.end(watching.result())
            elif not sending.done():
                self._out.drop_sound()
                self._out.end(_code_of(hearing))
            await asyncio.wait({sending}, timeout=LAST_WORD_S if watching.done() else SEND_S)
        finally:
            for each in tasks:
                each.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if self._dialogue is not None:
                await asyncio.shield(self._dialogue.leave())

    # -- to the client

    async def _send(self) -> int:
        """Until nothing more is to be sent, or nobody takes it."""
        try:
            while True:
                message = await self._out.get()
                async with asyncio.timeout(SEND_S):
                    await self._pass(message)
        except Closed as closed:
            return await self._close(closed.code)
        except TimeoutError:
            return await self._close(CLOSE_TOO_SLOW)
        except (WebSocketDisconnect, RuntimeError, OSError):
            return 1000

    async def _pass(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            await self._socket.send_bytes(message)
        else:
            await self._socket.send_text(message)

    async def _close(self, code: int) -> int:
        with suppress(RuntimeError, TimeoutError):
            await asyncio.wait_for(self._socket.close(code), CLOSE_S)
        return code

    def _tell(self, error: ProductError) -> None:
        self._out.put(VoiceFailed(code=error.code, detail=error.detail))

    # -- from the client

    async def _hear(self) -> int:
        """The code to close with."""
        try:
            async with asyncio.timeout(START_S):
                start = await self._start()
            dialogue = self._dialogue = Dialogue(self._settings, self._clients, self._user, start, self._out)
            await dialogue.begin()
            async with asyncio.timeout(self._settings.voice_minutes * 60):
                await self._converse(dialogue)
        except Closed as closed:
            return closed.code
        except TimeoutError:
            self._out.put(VoiceFailed(code="too_long", detail=TOO_LONG if self._dialogue else WHAT_TO_SAY))
        except WebSocketDisconnect:
            pass
        return 1000

    async def _message(self) -> dict[str, Any]:
        message = dict(await self._socket.receive())
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1000))
        return message

    async def _start(self) -> StartVoice:
        """Raises Closed for anything else."""
        message = await self._message()
        try:
            said = _said(message.get("text"))
            if not isinstance(said, StartVoice):
                raise Invalid(WHAT_TO_SAY)
        except Invalid as error:
            self._tell(error)
            raise Closed(CLOSE_REFUSED) from error
        return said

    async def _converse(self, dialogue: Dialogue) -> None:
        """Until `stop`. A slip in a message is no reason to lose the chat."""
        while True:
            message = await self._message()
            try:
                if message.get("bytes") is not None:
                    await dialogue.sound(self._frame(message["bytes"]))
                    continue
                said = _said(message.get("text"))
                if isinstance(said, StopVoice):
                    await dialogue.stop()
                    return
                await _do(dialogue, said)
            except Invalid as error:
                self._tell(error)

    def _frame(self, pcm: bytes) -> bytes:
        """Raises Invalid, or Closed for one that is too long."""
        if len(pcm) > FRAME_BYTES:
            self._tell(TooLarge(TOO_WIDE))
            raise Closed(CLOSE_TOO_LARGE)
        if len(pcm) % 2:
            raise Invalid(HALF)
        return pcm


async def _do(dialogue: Dialogue, said: Said) -> None:
    if isinstance(said, StartVoice):
        raise Invalid("The chat has started already.")
    if isinstance(said, Talk):
        if not dialogue.pushes:
            raise Invalid(BY_SILENCE)
        await dialogue.talk(said.on)
    elif isinstance(said, FlushVoice):
        await dialogue.flush()
    else:
        await dialogue.interrupt("button")


def _code_of(hearing: asyncio.Task[int]) -> int:
    if (error := hearing.exception()) is None:
        return hearing.result()
    log.error("a voice chat broke off", exc_info=error, extra={"kind": type(error).__name__})
    return INTERNAL


def _said(text: str | None) -> Said:
    """Raises Invalid; never repeats what was sent."""
    if text is None or len(text) > MOST_TEXT:
        raise Invalid(f"A text message with JSON of at most {MOST_TEXT} characters was expected here.")
    try:
        return VOICE_SAID.validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = "/".join(str(each) for each in first["loc"])
        raise Invalid(f"The message cannot be understood: {place or 'JSON'}: {first['msg'][:200]}.") from error
