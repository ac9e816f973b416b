from __future__ import annotations

import asyncio

import pytest

from shared import lifecycle
from shared.lifecycle import background


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
