"""Work that runs beside the requests of a service and ends with it, or with the client that asked for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from starlette.requests import Request

Result = TypeVar("Result")
GONE = 499
"""Status of an answer to a client that has left: nobody reads it."""


@asynccontextmanager
async def background(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Each piece runs until the block ends; then all are cancelled and waited for."""
    running = [asyncio.create_task(each) for each in work]
    try:
        yield
    finally:
        for each in running:
            each.cancel()
        await asyncio.gather(*running, return_exceptions=True)


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
