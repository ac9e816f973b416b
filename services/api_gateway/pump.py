"""A WebSocket through the gateway: messages both ways as they come, for as long as its user may be here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import aiohttp
from starlette.websockets import WebSocket, WebSocketDisconnect

from shared.auth.principal import Principal
from shared.clients import ServiceClient
from shared.errors import ProductError, UpstreamUnavailable

LOOK_S = 0.5
"""How often an open socket asks whether its user is still signed in."""
LAST_WORD_S = 1.0
"""How long the code of a service that takes nothing more is waited for."""
SIGNED_OUT, UPSTREAM_LOST, TRY_AGAIN = 4401, 1011, 1013


async def pump(client: ServiceClient, socket: WebSocket, user: Principal, still: Callable[[], object]) -> None:
    """Until either side closes; the other hears the same code. A user who is signed out is let go within a second.

    `still` raises once the user may not be here any more. Raises UpstreamUnavailable before anything was accepted.
    """
    path = socket.url.path
    async with client.socket(path, user=user) as inside:
        await socket.accept()
        outwards, inwards = (asyncio.create_task(each(socket, inside)) for each in (_outwards, _inwards))
        tasks = (outwards, asyncio.create_task(watch(still)), inwards)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if inwards.done() and inwards.result() == TRY_AGAIN:  # why the service left is still to be read
                await asyncio.wait((outwards,), timeout=LAST_WORD_S)
            code = next((each.result() for each in tasks if each.done()), UPSTREAM_LOST)
        finally:
            for each in tasks:
                each.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        with suppress(RuntimeError, TimeoutError, aiohttp.ClientError):
            await asyncio.wait_for(inside.close(code=code if code >= 3000 else 1000), 5)
        with suppress(RuntimeError, TimeoutError, WebSocketDisconnect):  # who has left needs no closing
            await asyncio.wait_for(socket.close(code), 5)


async def _inwards(socket: WebSocket, inside: aiohttp.ClientWebSocketResponse) -> int:
    """What the user sends. It is read no faster than the service takes it."""
    try:
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                return 1000
            if message.get("bytes") is not None:
                await inside.send_bytes(message["bytes"])
            elif message.get("text") is not None:
                await inside.send_str(message["text"])
    except WebSocketDisconnect:
        return 1000
    except (aiohttp.ClientError, ConnectionError, UpstreamUnavailable):
        return TRY_AGAIN


async def _outwards(socket: WebSocket, inside: aiohttp.ClientWebSocketResponse) -> int:
    """What the service sends, and the code with which it closes; 1000 where the user has left."""
    try:
        async for message in inside:
            if message.type is aiohttp.WSMsgType.TEXT:
                await socket.send_text(message.data)
            elif message.type is aiohttp.WSMsgType.BINARY:
                await socket.send_bytes(message.data)
    except (WebSocketDisconnect, RuntimeError):  # Starlette's words for a socket that is closed already
        return 1000
    code = inside.close_code
    return code if code is not None and (code in (1000, 1008, 1009, 1011) or 4000 <= code < 5000) else TRY_AGAIN


async def watch(still: Callable[[], object]) -> int:
    """The code to close with, once `still` raises."""
    while True:
        await asyncio.sleep(LOOK_S)
        try:
            still()
        except ProductError:
            return SIGNED_OUT
