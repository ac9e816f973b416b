"""What every stream of events to a client needs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final, TypeVar

Event = TypeVar("Event")
PING_S = 15.0
"""Seconds of silence after which a stream gives a sign of life: proxies and browsers cut a silent one off."""
PING: Final = b": ping\n\n"
_END: Final = object()


async def with_silences(events: AsyncIterator[Event], every_s: float = PING_S) -> AsyncGenerator[Event | None, None]:
    """Each of `events`, and None for each `every_s` without one. Close it before what the events come from:

        async with source() as events, aclosing(with_silences(events)) as news:

    for a question that is still open when its source is gone would fail with nobody to hear of it.
    """
    coming: asyncio.Future[object] = asyncio.ensure_future(anext(events, _END))
    try:
        while True:
            if not (await asyncio.wait({coming}, timeout=every_s))[0]:
                yield None
            elif (event := coming.result()) is _END:
                return
            else:
                yield event  # type: ignore[misc]
                coming = asyncio.ensure_future(anext(events, _END))
    finally:
        coming.cancel()
        await asyncio.wait({coming})
