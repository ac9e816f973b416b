from __future__ import annotations

import asyncio

import pytest

from shared import lifecycle
from shared.lifecycle import News, background, comes


async def test_work_that_loses_a_cancellation_is_cancelled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `asyncio.wait_for` does before Python 3.12 where both come at once."""
    monkeypatch.setattr(lifecycle, "AGAIN_S", 0.05)
    lost = 0

    async def round_and_round() -> None:
        nonlocal lost
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                lost += 1
                if lost > 2:
                    raise

    async with asyncio.timeout(5):
        async with background(round_and_round()):
            await asyncio.sleep(0)
    assert lost == 3


async def test_what_failed_beside_does_not_hide_how_the_block_ended() -> None:
    async def failing() -> None:
        raise ValueError("beside")

    with pytest.raises(KeyError, match="inside"):
        async with background(failing()):
            await asyncio.sleep(0)
            raise KeyError("inside")


async def test_an_event_is_waited_for_so_long_and_no_longer() -> None:
    event = asyncio.Event()
    assert await comes(event, 0.01) is False
    asyncio.get_running_loop().call_later(0.01, event.set)
    assert await comes(event, 10) is True
    assert await comes(event) is True


async def test_news_wakes_all_who_wait_and_nobody_twice() -> None:
    news = News()
    waiting = [asyncio.create_task(news.heard()) for _ in range(2)]
    await asyncio.sleep(0)
    news.tell()
    assert await asyncio.gather(*waiting) == [True, True]
    assert await news.heard(0.01) is False


async def test_who_waits_for_news_can_be_cancelled() -> None:
    news = News()
    waiting = asyncio.create_task(news.heard(60))
    await asyncio.sleep(0)
    news.tell()
    waiting.cancel()  # in the very moment in which the news is there
    with pytest.raises(asyncio.CancelledError):
        await waiting
