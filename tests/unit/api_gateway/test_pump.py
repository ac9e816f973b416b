"""A WebSocket through the gateway: who leaves first, and what the other hears."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from starlette.websockets import WebSocketDisconnect

from services.api_gateway.pump import TRY_AGAIN, pump
from shared.auth.principal import Principal


class Inside:
    """The service's side: says some things, then closes with a code; takes nothing any more once it is closed."""

    def __init__(self, said: list[str], code: int | None, *, closes: asyncio.Event) -> None:
        self.said, self.close_code, self.closes = said, code, closes

    async def __aiter__(self) -> AsyncIterator[Any]:
        for each in self.said:
            yield SimpleNamespace(type=aiohttp.WSMsgType.TEXT, data=each)
        await self.closes.wait()

    async def send_bytes(self, data: bytes) -> None:
        raise aiohttp.ClientConnectionResetError

    async def close(self, code: int) -> None:
        pass


class User:
    """The user's side: sends one message, or is gone already."""

    url = SimpleNamespace(path="/live")

    def __init__(self, *, gone: Exception | None = None, sends: bool = True) -> None:
        self.gone, self.sends, self.code = gone, sends, 0

    async def accept(self) -> None:
        pass

    async def receive(self) -> dict[str, Any]:
        if not self.sends:
            await asyncio.Event().wait()
        return {"type": "websocket.receive", "bytes": b"sound"}

    async def send_text(self, text: str) -> None:
        if self.gone:
            raise self.gone

    async def close(self, code: int) -> None:
        self.code = code
        if self.gone:
            raise self.gone


async def closed_with(inside: Inside, user: User) -> int:
    class Client:
        @asynccontextmanager
        async def socket(self, path: str, *, user: Principal) -> AsyncIterator[Inside]:
            yield inside

    client: Any = Client()
    socket: Any = user
    await asyncio.wait_for(pump(client, socket, Principal("usr_1"), lambda: None), 10)
    return user.code


async def test_the_services_own_code_is_told_where_sound_could_not_be_sent_any_more() -> None:
    closes = asyncio.Event()
    closes.set()
    assert await closed_with(Inside([], 4408, closes=closes), User()) == 4408


async def test_so_it_is_where_the_code_comes_a_moment_later() -> None:
    closes = asyncio.Event()
    asyncio.get_running_loop().call_later(0.1, closes.set)
    assert await closed_with(Inside([], 4409, closes=closes), User()) == 4409


async def test_a_service_without_a_last_word_is_not_waited_for() -> None:
    assert await closed_with(Inside([], None, closes=asyncio.Event()), User()) == TRY_AGAIN


@pytest.mark.parametrize("gone", [WebSocketDisconnect(1006), RuntimeError('Cannot call "send"')])
async def test_a_user_who_left_is_no_failure(gone: Exception) -> None:
    inside = Inside(["a word"], None, closes=asyncio.Event())
    assert await closed_with(inside, User(gone=gone, sends=False)) == 1000
