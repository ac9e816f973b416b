"""Answers from the model's process: several at once, sent away in the middle, and nothing of them lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from services.gemma.engines import Piece, Sampling, Turn
from services.gemma.model import ModelLoader, budget_bytes
from services.gemma.settings import Settings
from shared.errors import Busy
from shared.gpu.holder import Holder
from shared.gpu.supervisor import ModelChild

STORY = " ".join(f"word{n}" for n in range(2000))


class Granted:
    """Memory that the test gives and takes, in the place of a coordinator: what `Holder` promises, parked for real."""

    def __init__(self, child: ModelChild) -> None:
        self._child, self._using, self.taken_away = child, 0, 0
        self._granted, self._free = asyncio.Event(), asyncio.Event()
        self._granted.set()

    @property
    def ready(self) -> bool:
        return self._granted.is_set()

    @property
    def must_yield(self) -> bool:
        return not self._granted.is_set()

    @asynccontextmanager
    async def use(
        self, *, most_s: float, told: Callable[[str], None] | None, unless: Callable[[], bool]
    ) -> AsyncIterator[None]:
        if told is not None and not self.ready:
            told("another model to leave the memory")
        async with asyncio.timeout(most_s):
            while not self.ready:
                await self._granted.wait()
        self._using += 1
        try:
            yield
        finally:
            self._using -= 1
            if not self._using:
                self._free.set()

    async def take_away_and_give_back(self) -> None:
        self._free.clear()
        self._granted.clear()
        if self._using:
            await self._free.wait()
        await self._child.park()
        await self._child.wake()
        self.taken_away += 1
        self._granted.set()


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[tuple[ModelLoader, Granted]]:
    settings = Settings(engine="fake", data_dir=tmp_path, parallel=3, queue_length=2)
    child = ModelChild("services.gemma.engines.served:open_language", settings.plain())
    await child.wake()
    granted = Granted(child)
    yield ModelLoader(settings, cast(Holder, granted), child), granted
    await child.kill()


async def heard(
    model: ModelLoader, text: str, stages: list[str], begun: Callable[[], Any] = lambda: None, **more: Any
) -> list[Piece]:
    pieces = []
    asked = model.write(lambda ruler: [Turn("user", text)], Sampling(max_tokens=5000),
                        lambda: False, lambda stage, why: stages.append(stage), **more)  # fmt: skip
    async for piece in asked:
        pieces.append(piece)
        begun()
    return pieces


async def test_all_of_them_leave_for_others_and_go_on_where_they_were(parts: tuple[ModelLoader, Granted]) -> None:
    model, granted = parts
    stages: list[list[str]] = [[], [], []]
    begun = asyncio.Event()
    asked = [
        asyncio.create_task(heard(model, f"{STORY} {n}", stages[n], begun.set, user=f"u{n}")) for n in range(3)
    ]  # fmt: skip
    async with asyncio.timeout(120):
        for _ in range(3):
            begun.clear()
            await begun.wait()
            await granted.take_away_and_give_back()
        answers = await asyncio.gather(*asked)
    assert granted.taken_away == 3 and any("paused" in each for each in stages)
    for n, pieces in enumerate(answers):
        assert "".join(piece.text for piece in pieces).split() == ["Told:", *STORY.split(), str(n)]
        assert [piece.written for piece in pieces] == sorted(piece.written for piece in pieces)
        assert pieces[-1].written == 2002 and pieces[-1].finish == "stop"


async def test_a_cut_answer_says_so(parts: tuple[ModelLoader, Granted]) -> None:
    model, _ = parts
    asked = model.write(lambda ruler: [Turn("user", STORY)], Sampling(max_tokens=7), lambda: False, lambda *told: None)
    pieces = [piece async for piece in asked]
    assert (pieces[-1].written, pieces[-1].finish) == (7, "length")


async def test_who_waits_hears_how_many_go_first_and_too_many_are_refused(parts: tuple[ModelLoader, Granted]) -> None:
    model, granted = parts
    granted._granted.clear()  # so that nobody is done before the test is
    positions: list[int] = []
    told: list[str] = []
    first = [asyncio.create_task(heard(model, "hello", [], user=f"u{n}")) for n in range(3)]
    await asyncio.sleep(0)
    waits = asyncio.create_task(heard(model, "hello", [], user="u3", position=positions.append))
    plain = asyncio.create_task(heard(model, "hello", told, user="u4"))
    await asyncio.sleep(0)
    assert positions == [1] and told == ["waiting"] and model.ahead == 3
    with pytest.raises(Busy) as caught:
        await heard(model, "hello", [], user="u5")
    assert caught.value.retry_after_s
    granted._granted.set()
    async with asyncio.timeout(60):
        answers = await asyncio.gather(*first, waits, plain)
    assert ["".join(piece.text for piece in each).split() for each in answers] == [["Told:", "hello"]] * 5
    assert model.ahead == 0


def test_the_budget_counts_all_cells(tmp_path: Path) -> None:
    one, four = (Settings(models_dir=tmp_path, parallel=n, context_tokens=1024) for n in (1, 4))
    assert budget_bytes(four) - budget_bytes(one) == 3 * 1024 * 64 * 1024
    assert budget_bytes(Settings(models_dir=tmp_path, cache_tokens=2048)) < budget_bytes(four)
