"""Streams of one model's process beside one another; the processes are real."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from shared.errors import Invalid, ModelLost
from shared.gpu.beside import Beside
from shared.gpu.supervisor import ModelChild
from shared.schemas.problem import FieldError

HERE = "tests.unit.gpu.test_beside"


def open_streams(settings: Any) -> dict[str, Any]:
    """In the child: streams that only go on when `parties` of them run at once, or for ever."""
    together, closed, over = threading.Barrier(3), list[str](), threading.Event()

    def meet(word: str) -> Iterator[str]:
        together.wait(30)
        yield word
        together.wait(30)
        yield word * 2

    def endless(word: str) -> Iterator[str]:
        try:
            while not over.wait(0.001):
                yield word
            raise ModelLost
        finally:
            closed.append(word)

    def refuse() -> Iterator[str]:
        yield "a"
        raise Invalid("This is wrong.", errors=[FieldError(pointer="/schema/x", detail="wrong")])

    return {
        "meet": lambda word: Beside(meet(word)),
        "endless": lambda word: Beside(endless(word)),
        "refuse": lambda: Beside(refuse()),
        "closed": lambda: closed,
        "close": over.set,
    }


@pytest.fixture
async def streams() -> AsyncIterator[ModelChild]:
    made = ModelChild(f"{HERE}:open_streams", {})
    await made.wake()
    yield made
    await made.kill()


async def test_three_run_at_once(streams: ModelChild) -> None:
    async def heard(word: str) -> list[str]:
        return [piece async for piece in streams.stream("meet", word=word)]

    async with asyncio.timeout(60):
        assert await asyncio.gather(*map(heard, "abc")) == [["a", "aa"], ["b", "bb"], ["c", "cc"]]


async def test_calls_are_answered_and_one_is_stopped_while_others_run(streams: ModelChild) -> None:
    one, two = streams.stream("endless", word="one"), streams.stream("endless", word="two")
    async with asyncio.timeout(60):
        assert (await anext(one), await anext(two)) == ("one", "two")
        assert await streams.call("closed") == []
        await one.aclose()
        assert await streams.call("closed") == ["one"]
        assert await anext(two) == "two"
        await two.aclose()
        assert await streams.call("closed") == ["one", "two"]


async def test_what_goes_wrong_in_one_is_its_own_and_keeps_its_pointer(streams: ModelChild) -> None:
    other = streams.stream("endless", word="other")
    async with asyncio.timeout(60):
        await anext(other)
        with pytest.raises(Invalid, match="wrong") as caught:
            [piece async for piece in streams.stream("refuse")]
        assert [each.pointer for each in caught.value.errors] == ["/schema/x"]
        assert await anext(other) == "other"
        await other.aclose()


async def test_parked_in_the_middle_they_end(streams: ModelChild) -> None:
    stream = streams.stream("endless", word="a")
    async with asyncio.timeout(60):
        await anext(stream)
        await streams.park()
        with pytest.raises(ModelLost):
            async for _ in stream:
                pass
        await streams.wake()
        assert await streams.call("closed") == []
