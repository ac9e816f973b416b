"""How a service is: what fails, what is late, and what does not even let itself be cancelled."""

from __future__ import annotations

import asyncio

import pytest

from shared import service
from shared.service import run_checks


async def well() -> str:
    return "ok"


async def broken() -> str:
    raise ConnectionRefusedError


async def test_every_check_has_its_word() -> None:
    assert await run_checks({}) == {}
    assert await run_checks({"a": well, "b": broken}) == {"a": "ok", "b": "down: ConnectionRefusedError"}


async def test_what_cannot_be_cancelled_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a question to a frozen database: its cancellation is a second question to it."""
    monkeypatch.setattr(service, "CHECK_S", 0.1)
    thawed, ended = asyncio.Event(), asyncio.Event()

    async def frozen() -> str:
        try:
            await thawed.wait()
        except asyncio.CancelledError:
            await thawed.wait()
            raise
        finally:
            ended.set()
        return "ok"

    assert await run_checks({"a": well, "b": frozen}) == {"a": "ok", "b": "down: TimeoutError"}
    assert not ended.is_set()
    thawed.set()
    await ended.wait()


async def test_who_leaves_takes_the_checks_along() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def slow() -> str:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()
        return "ok"

    asking = asyncio.create_task(run_checks({"a": slow}))
    await begun.wait()
    asking.cancel()
    await ended.wait()
    with pytest.raises(asyncio.CancelledError):
        await asking
