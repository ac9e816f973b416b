"""Work that runs beside the requests of a service and ends with it, or with the client that asked for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from starlette.requests import Request

Result = TypeVar("Result")
AGAIN_S = 10.0
"""Longer than a piece may take to put its things in order once it is cancelled."""
GONE = 499
"""Status of an answer to a client that has left: nobody reads it."""


@asynccontextmanager
async def background(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Each piece runs until the block ends; then all are cancelled and waited for.

    Cancelled until they end: before Python 3.12 `asyncio.wait_for` can lose a cancellation that comes in the moment
    in which what it waits for is done (bpo-37658), and a piece that goes round for ever would do so for ever.
    """
    running = [asyncio.create_task(each) for each in work]
    try:
        yield
    finally:
        left = set(running)
        while left:
            for each in left:
                each.cancel()
            _, left = await asyncio.wait(left, timeout=AGAIN_S)
        await asyncio.gather(*running, return_exceptions=True)


async def comes(event: asyncio.Event, most_s: float | None = None) -> bool:
    """Whether the event comes within so many seconds; without a limit it waits for ever.

    Not by `asyncio.wait_for`, which can lose a cancellation (see `background`).
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(most_s):
            await event.wait()
    return event.is_set()


class News:
    """Wakes all who wait for it, again and again: who comes later waits for the next."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def tell(self) -> None:
        self._next.set()
        self._next = asyncio.Event()

    async def heard(self, most_s: float | None = None) -> bool:
        """Whether any came within so many seconds."""
        return await comes(self._next, most_s)


async def unless_gone(request: Request, work: Awaitable[Result]) -> Result | None:
    """What the work makes; None where the client left before, which cancels the work. The body must have been read."""
    working, gone = asyncio.ensure_future(work), asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        for each in (working, gone):
            each.cancel()
        await asyncio.gather(working, gone, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
