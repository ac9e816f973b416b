"""Redis: short-lived facts, limits and a doorbell. Nothing that must last, and no user text."""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import redis.asyncio as aioredis
from redis.exceptions import RedisError

from shared.errors import StorageFailed

Event = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Hit:
    """What a rate limit says of one request."""

    allowed: bool
    remaining: int
    reset_s: float
    """Seconds until the window has room again."""


class Store(Protocol):
    """What the platform needs of Redis."""

    async def claim(self, key: str, ttl_s: float) -> bool:
        """True for the first caller within `ttl_s` seconds only."""
        ...

    async def put(self, key: str, value: str, ttl_s: float) -> None: ...
    async def get(self, key: str) -> str | None: ...
    async def take(self, key: str) -> str | None:
        """The value, which is gone afterwards: for one-use things."""
        ...

    async def delete(self, key: str) -> None: ...
    async def hit(self, key: str, limit: int, window_s: float) -> Hit: ...
    async def publish(self, channel: str, message: dict[str, Any]) -> None: ...
    def subscribe(self, *channels: str) -> AbstractAsyncContextManager[AsyncIterator[Event]]: ...
    async def ping(self) -> str: ...
    async def close(self) -> None: ...


@contextmanager
def in_our_words() -> Iterator[None]:
    """Inside, redis-py's vocabulary; outside, ours."""
    try:
        yield
    except (RedisError, OSError, TimeoutError) as error:
        raise StorageFailed("Redis does not answer; nothing that was saved is lost.") from error


class RedisStore:
    """The real one; Redis 7 or newer, or Valkey."""

    def __init__(self, url: str) -> None:
        self._redis: aioredis.Redis = aioredis.from_url(
            url, decode_responses=True, socket_timeout=2, socket_connect_timeout=2, health_check_interval=30
        )
        self._url = url
        self._hits: list[tuple[str, int, asyncio.Future[tuple[int, int]]]] = []
        self._counting: asyncio.Task[None] | None = None

    async def claim(self, key: str, ttl_s: float) -> bool:
        with in_our_words():
            return bool(await self._redis.set(key, "1", nx=True, px=max(1, int(ttl_s * 1000))))

    async def put(self, key: str, value: str, ttl_s: float) -> None:
        with in_our_words():
            await self._redis.set(key, value, px=max(1, int(ttl_s * 1000)))

    async def get(self, key: str) -> str | None:
        with in_our_words():
            return _text(await self._redis.get(key))

    async def take(self, key: str) -> str | None:
        with in_our_words():
            return _text(await self._redis.getdel(key))

    async def delete(self, key: str) -> None:
        with in_our_words():
            await self._redis.delete(key)

    async def hit(self, key: str, limit: int, window_s: float) -> Hit:
        """A fixed window counted by the server; the key dies by itself."""
        answer: asyncio.Future[tuple[int, int]] = asyncio.get_running_loop().create_future()
        self._hits.append((key, int(window_s * 1000), answer))
        if self._counting is None:
            self._counting = asyncio.create_task(self._count())
        with in_our_words():
            count, left_ms = await answer
        return Hit(count <= limit, max(0, limit - count), left_ms / 1000)

    async def _count(self) -> None:
        """Hits that come while others are on their way go together in the next round trip."""
        try:
            while self._hits:
                together, self._hits = self._hits, []
                try:
                    found = await self._count_once([(key, window_ms) for key, window_ms, _ in together])
                    for (_, _, answer), one in zip(together, found, strict=True):
                        if not answer.done():
                            answer.set_result(one)
                except BaseException as error:
                    for _, _, answer in together:
                        if not answer.done():
                            answer.set_exception(error)
                    if not isinstance(error, Exception):
                        raise
        finally:
            self._counting = None

    async def _count_once(self, hits: list[tuple[str, int]]) -> list[tuple[int, int]]:
        """Of each hit: how many there were in its window, and the milliseconds left of it."""
        line = self._redis.pipeline(transaction=False)
        for key, window_ms in hits:
            line.incr(key)
            line.pexpire(key, window_ms, nx=True)
            line.pttl(key)
        answers = await line.execute()
        return list(zip(answers[::3], answers[2::3], strict=True))

    async def publish(self, channel: str, message: dict[str, Any]) -> None:
        with in_our_words():
            await self._redis.publish(channel, json.dumps(message))

    @asynccontextmanager
    async def subscribe(self, *channels: str) -> AsyncIterator[AsyncIterator[Event]]:
        """An endless iterator of (channel, message); it raises StorageFailed where the connection is lost."""
        client: aioredis.Redis = aioredis.from_url(self._url, decode_responses=True, socket_connect_timeout=2)
        pubsub: Any = client.pubsub(ignore_subscribe_messages=True)
        try:
            with in_our_words():
                await pubsub.subscribe(*channels)
            yield _events(pubsub)
        finally:
            await pubsub.aclose()
            await client.aclose()

    async def ping(self) -> str:
        with in_our_words():
            await self._redis.ping()
        return "ok"

    async def close(self) -> None:
        await self._redis.aclose()


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


async def _events(pubsub: Any) -> AsyncIterator[Event]:
    with in_our_words():
        async for message in pubsub.listen():
            try:
                yield message["channel"], json.loads(message["data"])
            except (ValueError, TypeError):
                yield message["channel"], {}


class MemoryStore:
    """The twin: one process, same answers."""

    def __init__(self) -> None:
        self._values: dict[str, tuple[str, float]] = {}
        self._counts: dict[str, tuple[int, float]] = {}
        self._listeners: dict[str, set[asyncio.Queue[Event]]] = defaultdict(set)
        self.published: deque[Event] = deque(maxlen=1000)

    async def claim(self, key: str, ttl_s: float) -> bool:
        if await self.get(key) is not None:
            return False
        await self.put(key, "1", ttl_s)
        return True

    async def put(self, key: str, value: str, ttl_s: float) -> None:
        self._values[key] = (value, time.monotonic() + ttl_s)

    async def get(self, key: str) -> str | None:
        value, until = self._values.get(key, ("", 0.0))
        return value if until > time.monotonic() else None

    async def take(self, key: str) -> str | None:
        value = await self.get(key)
        self._values.pop(key, None)
        return value

    async def delete(self, key: str) -> None:
        self._values.pop(key, None)
        self._counts.pop(key, None)

    async def hit(self, key: str, limit: int, window_s: float) -> Hit:
        now = time.monotonic()
        count, until = self._counts.get(key, (0, 0.0))
        if until <= now:
            count, until = 0, now + window_s
        self._counts[key] = (count + 1, until)
        return Hit(count + 1 <= limit, max(0, limit - count - 1), until - now)

    async def publish(self, channel: str, message: dict[str, Any]) -> None:
        self.published.append((channel, message))
        for queue in self._listeners[channel]:
            queue.put_nowait((channel, message))

    @asynccontextmanager
    async def subscribe(self, *channels: str) -> AsyncIterator[AsyncIterator[Event]]:
        queue: asyncio.Queue[Event] = asyncio.Queue()
        for channel in channels:
            self._listeners[channel].add(queue)
        try:
            yield _drain(queue)
        finally:
            for channel in channels:
                self._listeners[channel].discard(queue)

    async def ping(self) -> str:
        return "ok"

    async def close(self) -> None:
        self._values.clear()


async def _drain(queue: asyncio.Queue[Event]) -> AsyncIterator[Event]:
    while True:
        yield await queue.get()
