"""The microphone of a voice chat on its way to the live stream of the transcription service."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from typing import Any

import aiohttp

from shared.auth.principal import Principal
from shared.clients import ServiceClient
from shared.errors import ProductError, UpstreamUnavailable, from_problem
from shared.schemas.voice import StartVoice

log = logging.getLogger(__name__)
PATH = "/transcription/stream"
READY_S = 30.0
"""After a start of the service the first stream waits for its models."""
END_S = 30.0
LOST = "lost"


class Ears:
    """One live stream. `hear` gets its events, and `{"type": "lost", "code": ...}` once the other side closed it."""

    def __init__(
        self, client: ServiceClient, user: Principal, start: StartVoice, hear: Callable[[dict[str, Any]], None]
    ) -> None:
        self._client, self._user, self._start, self._hear = client, user, start, hear
        self._stack = AsyncExitStack()
        self._link: aiohttp.ClientWebSocketResponse | None = None
        self._reading: asyncio.Task[None] | None = None
        self._sent_bytes = 0
        self.transcript_id: str | None = None

    @property
    def open(self) -> bool:
        return self._link is not None

    @property
    def sent_ms(self) -> int:
        """Sound that was sent, as the live stream counts it."""
        return int(self._sent_bytes / 2 / self._start.sample_rate_hz * 1000)

    async def connect(self) -> None:
        """Raises what the service says, or UpstreamUnavailable."""
        stack = AsyncExitStack()
        try:
            link = await stack.enter_async_context(self._client.socket(PATH, user=self._user))
            await link.send_str(json.dumps(self._first()))
            ready = await asyncio.wait_for(self._event(link), READY_S)
        except BaseException as error:
            await stack.aclose()
            if isinstance(error, TimeoutError | aiohttp.ClientError | ConnectionError):
                raise UpstreamUnavailable(UNHEARD) from error
            raise
        self.transcript_id, self._sent_bytes = ready.get("transcript_id"), 0
        self._stack, self._link = stack, link
        self._reading = asyncio.create_task(self._read(link))

    def _first(self) -> dict[str, Any]:
        start = self._start
        first = {
            "type": "start", "sample_rate_hz": start.sample_rate_hz, "quiet": True, "keep": start.remember,
            "remember": start.remember, "diarize": start.remember, "emotion": start.remember,
        }  # fmt: skip
        return first if start.language is None else first | {"language": start.language}

    async def _event(self, link: aiohttp.ClientWebSocketResponse) -> dict[str, Any]:
        message = await link.receive()
        if message.type is not aiohttp.WSMsgType.TEXT:
            raise UpstreamUnavailable(UNHEARD)
        event: dict[str, Any] = json.loads(message.data)
        if event["type"] == "error":
            raise from_problem(event, status=503)
        return event

    async def _read(self, link: aiohttp.ClientWebSocketResponse) -> None:
        try:
            async for message in link:
                if message.type is aiohttp.WSMsgType.TEXT:
                    self._hear(json.loads(message.data))
        except (aiohttp.ClientError, ConnectionError):
            pass
        except Exception as error:  # a fault of ours must not leave a chat that seems to listen
            log.exception("an event of a live stream was not understood", extra={"kind": type(error).__name__})
        self._link = None
        self._hear({"type": LOST, "code": link.close_code})

    async def send(self, pcm: bytes) -> None:
        """Waits as long as the service does not take it. What is sent to a lost stream is lost."""
        if await self._say(pcm):
            self._sent_bytes += len(pcm)

    async def flush(self) -> None:
        await self._say(json.dumps({"type": "flush"}))

    async def stop(self) -> None:
        """Of a recording the end, so that it is made; waits a while for it."""
        if await self._say(json.dumps({"type": "stop"})) and self._reading is not None:
            await asyncio.wait({self._reading}, timeout=END_S)

    async def _say(self, message: str | bytes) -> bool:
        if self._link is None:
            return False
        with suppress(aiohttp.ClientError, ConnectionError):
            await (self._link.send_bytes(message) if isinstance(message, bytes) else self._link.send_str(message))
            return True
        return False

    async def close(self) -> None:
        self._link = None
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        with suppress(ProductError, aiohttp.ClientError, ConnectionError):
            await self._stack.aclose()
        self._stack = AsyncExitStack()


UNHEARD = "The transcription service does not answer, so nothing is heard; go on speaking in a moment, the chat stays."
