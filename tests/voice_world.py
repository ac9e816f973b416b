"""The services behind a voice chat, as a test tells them to be."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import aiohttp

from shared.auth.principal import Principal
from shared.errors import ProductError
from shared.schemas.tts import SpeechRequest, Voice, VoiceList
from shared.schemas.voice import SPOKEN_HZ

CONVERSATION = "cnv_01J00000000000000000000000"
LOUD, SOFT = (b"\x00\x40\x00\xc0" * 800, b"\x40\x00\xc0\xff" * 800)
"""100 ms at 16 kHz, -6 and -54 dB of full scale."""


class Stream:
    """The live stream: keeps what it is sent, says what it is told."""

    def __init__(self) -> None:
        self.said: list[dict[str, Any]] = []
        self.pcm = b""
        self.events: asyncio.Queue[Any] = asyncio.Queue()
        self.first: dict[str, Any] = {"type": "ready"}
        self.refuses: ProductError | None = None
        self.close_code: int | None = None
        self.opened = 0

    @asynccontextmanager
    async def socket(self, path: str, *, user: Principal) -> AsyncIterator[Stream]:
        assert path == "/transcription/stream"
        if self.refuses is not None:
            raise self.refuses
        self.opened += 1
        self.tell(**self.first)
        yield self

    def tell(self, **event: Any) -> None:
        self.events.put_nowait(SimpleNamespace(type=aiohttp.WSMsgType.TEXT, data=json.dumps(event)))

    def lose(self, code: int) -> None:
        self.close_code = code
        self.events.put_nowait(None)

    async def receive(self) -> Any:
        return await self.events.get()

    async def __aiter__(self) -> AsyncIterator[Any]:
        while (event := await self.events.get()) is not None:
            yield event

    async def send_str(self, text: str) -> None:
        self.said.append(json.loads(text))

    async def send_bytes(self, data: bytes) -> None:
        self.pcm += data


class Model:
    """The chat service: each answer is told by the test, and hears that it is cancelled."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.events: asyncio.Queue[Any] = asyncio.Queue()
        self.cancelled: list[str] = []
        self.refuses: ProductError | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    @asynccontextmanager
    async def ask(self, user: Principal, question: Any) -> AsyncIterator[Any]:
        if self.refuses is not None:
            raise self.refuses
        self.asked.append(question)
        self.events = asyncio.Queue()
        await self.gate.wait()
        yield f"msg_{len(self.asked)}", self._read(self.events)

    async def _read(self, events: asyncio.Queue[Any]) -> AsyncIterator[Any]:
        yield "status", {"stage": "searching", "conversation_id": CONVERSATION}
        while (event := await events.get()) is not None:
            yield event

    def tell(self, text: str) -> None:
        self.events.put_nowait(("token", {"text": text}))

    def end(self) -> None:
        self.events.put_nowait(("done", {"model": "scripted"}))
        self.events.put_nowait(None)

    async def cancel(self, user: Principal, message_id: str) -> None:
        self.cancelled.append(message_id)
        self.end()

    async def conversation(self, user: Principal, conversation_id: str) -> None:
        if self.refuses is not None:
            raise self.refuses


class Mouth:
    """The speech service: 200 ms a sentence."""

    def __init__(self) -> None:
        self.said: list[SpeechRequest] = []
        self.refuses: ProductError | None = None
        self.speech_fails: ProductError | None = None
        self.length_ms = 200

    async def voices(self, user: Principal) -> VoiceList:
        if self.refuses is not None:
            raise self.refuses
        names = (("joe", "en-us"), ("karl", "de-de"))
        voices = [Voice(id=i, name=i, language=tag, engine="x", sample_rate_hz=22_050) for i, tag in names]
        return VoiceList(data=voices)

    @asynccontextmanager
    async def speech(self, user: Principal, request: SpeechRequest) -> AsyncIterator[Any]:
        if self.speech_fails is not None:
            raise self.speech_fails
        self.said.append(request)

        async def sound() -> AsyncIterator[bytes]:
            left = SPOKEN_HZ * 2 * self.length_ms // 1000
            while left > 0:
                yield bytes(min(left, 3_001))  # not even whole samples
                left -= 3_001

        yield sound()
