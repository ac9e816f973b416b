"""The socket of a voice chat on a real gateway: who is let in, what is refused, and that nobody holds a place for ever."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from services.api_gateway.clients import Clients
from services.api_gateway.voice import MOST_TEXT
from shared.auth.service_tokens import ServiceIdentity
from shared.schemas.voice import FRAME_BYTES
from tests.gateway_house import bearer, gateway, join, served, settings_for
from tests.voice_world import CONVERSATION, LOUD, Model, Mouth, Stream

START = {"type": "start", "mode": "hands_free"}


class Behind(Clients):
    """Three services that say what a test tells them to; the others are away."""

    def __init__(self, settings: Any) -> None:
        super().__init__(settings, ServiceIdentity.ephemeral()["api-gateway"])
        stand_ins: Any = (Stream(), Model(), Mouth())
        self.stream, self.model, self.mouth = stand_ins
        self.transcription, self.gemma, self.tts = stand_ins

    def all(self) -> list[Any]:
        return [self.rag, self.emotion, self.coordinator]


class Front:
    """A gateway and a user of it."""

    def __init__(self, url: str, http: httpx.AsyncClient, pair: dict[str, Any], behind: Behind) -> None:
        self.url, self.http, self.pair, self.behind = url, http, pair, behind

    @asynccontextmanager
    async def opened(self, *first: dict[str, Any] | str) -> AsyncIterator[ClientConnection]:
        address = self.url.replace("http", "ws") + "/voice"
        async with connect(address, additional_headers=bearer(self.pair), max_size=None) as socket:
            for each in first:
                await socket.send(each if isinstance(each, str) else json.dumps(each))
            yield socket


@asynccontextmanager
async def front(folder: Path, **changes: Any) -> AsyncIterator[Front]:
    settings = settings_for(folder, voice_silence_ms=0, **changes)
    behind = Behind(settings)
    async with (
        served(gateway(settings, clients=behind)) as url,
        httpx.AsyncClient(base_url=url, timeout=30) as http,
    ):
        yield Front(url, http, await join(http), behind)


async def until(socket: ClientConnection, kind: str) -> dict[str, Any]:
    while True:
        raw = await asyncio.wait_for(socket.recv(), 30)
        if isinstance(raw, str) and (event := json.loads(raw))["type"] == kind:
            return dict(event)


async def closed_with(socket: ClientConnection) -> int:
    with pytest.raises(ConnectionClosed) as closed:
        await until(socket, "never")
    assert closed.value.rcvd is not None
    return int(closed.value.rcvd.code)


@pytest.mark.parametrize(
    "first",
    ["nonsense", "{}", '{"type": "stop"}', '{"type": "start", "sample_rate_hz": 1}', '{"type": "start", "x": 1}',
     '{"type": "start", "conversation_id": "../x"}', '{"type": "start", "mode": "shout"}', "[" * MOST_TEXT,
     '{"type": "start", "voice": "' + "x" * MOST_TEXT + '"}'],
)  # fmt: skip
async def test_what_is_no_start_is_refused_with_what_to_send(tmp_path: Path, first: str) -> None:
    async with front(tmp_path) as house, house.opened(first) as socket:
        error = await until(socket, "error")
        assert error["code"] == "invalid" and error["detail"] and "xxx" not in error["detail"]
        assert await closed_with(socket) == 4400


async def test_a_slip_on_the_way_does_not_lose_the_chat(tmp_path: Path) -> None:
    async with front(tmp_path) as house, house.opened(START) as socket:
        await until(socket, "ready")
        for slip in ("nonsense", '{"type": "talk", "on": true}', json.dumps(START), b"odd", '{"type": "talk"}'):
            await socket.send(slip)
            assert (await until(socket, "error"))["code"] == "invalid"
        await socket.send(LOUD)
        await socket.send('{"type": "stop"}')
        await until(socket, "end")
        assert await closed_with(socket) == 1000
        assert house.behind.stream.pcm == LOUD


async def test_a_frame_that_is_too_long_ends_it(tmp_path: Path) -> None:
    async with front(tmp_path) as house, house.opened(START) as socket:
        await until(socket, "ready")
        await socket.send(bytes(FRAME_BYTES + 2))
        assert (await until(socket, "error"))["code"] == "too_large"
        assert await closed_with(socket) == 1009


async def test_one_user_has_so_many_chats_and_gets_the_place_back(tmp_path: Path) -> None:
    async with front(tmp_path, voice_sessions=1) as house:
        async with house.opened(START) as socket:
            await until(socket, "ready")
            async with house.opened() as another:
                assert (await until(another, "error"))["code"] == "busy"
                assert await closed_with(another) == 1013
        async with asyncio.timeout(30):
            while True:
                with suppress(ConnectionClosed):
                    async with house.opened(START) as socket:
                        if json.loads(await socket.recv())["type"] == "ready":
                            return
                await asyncio.sleep(0.05)


async def test_a_chat_ends_after_its_longest_time(tmp_path: Path) -> None:
    async with front(tmp_path, voice_minutes=0.05) as house, house.opened(START) as socket:
        await until(socket, "ready")
        assert (await until(socket, "error"))["code"] == "too_long"
        assert await closed_with(socket) == 1000


async def test_signing_out_ends_the_chat_and_its_answer(tmp_path: Path) -> None:
    async with front(tmp_path) as house, house.opened(START) as socket:
        await until(socket, "ready")
        stream = house.behind.stream
        stream.tell(type="final", utterance=0, start_s=0.0, text="What is it?")
        stream.tell(type="quiet", audio_ms=1)
        assert (await until(socket, "thinking"))["conversation_id"] == CONVERSATION
        (await house.http.post("/auth/logout", headers=bearer(house.pair))).raise_for_status()
        assert await closed_with(socket) == 4401
        async with asyncio.timeout(30):
            while house.behind.model.cancelled != ["msg_1"]:
                await asyncio.sleep(0.05)


async def test_a_dropped_connection_cancels_the_answer(tmp_path: Path) -> None:
    async with front(tmp_path) as house:
        async with house.opened(START) as socket:
            await until(socket, "ready")
            house.behind.stream.tell(type="final", utterance=0, start_s=0.0, text="What is it?")
            house.behind.stream.tell(type="quiet", audio_ms=1)
            await until(socket, "thinking")
            socket.transport.abort()
        async with asyncio.timeout(30):
            while house.behind.model.cancelled != ["msg_1"]:
                await asyncio.sleep(0.05)
