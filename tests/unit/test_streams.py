from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

from shared.streams import with_silences


async def numbers(*pauses: float) -> AsyncIterator[int]:
    for at, pause in enumerate(pauses):
        await asyncio.sleep(pause)
        yield at


async def test_silence_is_told_and_loses_nothing() -> None:
    patient = asyncio.Event()

    async def source() -> AsyncIterator[int]:
        yield 0
        await patient.wait()
        yield 1
        yield 2

    told = []
    async for each in with_silences(source(), 0.05):
        told.append(each)
        if told.count(None) == 2:
            patient.set()
    assert [each for each in told if each is not None] == [0, 1, 2]
    assert told.count(None) >= 2
    assert told[-1] == 2


async def test_an_error_of_the_source_is_the_listeners() -> None:
    async def failing() -> AsyncIterator[int]:
        yield 1
        raise ValueError("broken")

    news = with_silences(failing(), 1)
    assert await anext(news) == 1
    with pytest.raises(ValueError, match="broken"):
        await anext(news)


async def test_who_leaves_leaves_no_question_open() -> None:
    """A connection that is closed under an open question fails it, and nobody would fetch that failure."""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    closed = asyncio.Event()

    async def listening() -> AsyncIterator[int]:
        await closed.wait()
        raise ConnectionError("the line was closed")
        yield 0

    @asynccontextmanager
    async def source() -> AsyncIterator[AsyncIterator[int]]:
        try:
            yield listening()
        finally:
            closed.set()
            await asyncio.sleep(0.01)

    async with source() as events, aclosing(with_silences(events, 0.01)) as news:
        assert await anext(news) is None
    gc.collect()
    await asyncio.sleep(0)
    assert complaints == []
