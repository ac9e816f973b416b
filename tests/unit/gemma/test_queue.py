"""Turns: so many at once, round by user, each told how many go first."""

from __future__ import annotations

import asyncio

import pytest

from services.gemma.queue import Queue
from shared.errors import Busy


class Asker:
    """One who wants an answer and writes down what it hears."""

    def __init__(self, queue: Queue, user: str, order: list[Asker] | None = None) -> None:
        self.told: list[int] = []
        self.may_end, self.gone = asyncio.Event(), False
        self._queue, self.user, self._order = queue, user, order
        self.task = asyncio.create_task(self._ask())

    async def _ask(self) -> bool:
        async with self._queue.place(self.user, self.told.append, unless=lambda: self.gone) as mine:
            if mine:
                if self._order is not None:
                    self._order.append(self)
                await self.may_end.wait()
            return mine


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_so_many_at_once_and_the_others_hear_how_many_go_first() -> None:
    queue = Queue(2, 10)
    askers = [Asker(queue, f"u{n}") for n in range(5)]
    await settled()
    assert [each.told for each in askers] == [[], [], [1], [2], [3]] and queue.ahead == 4
    askers[1].may_end.set()
    await settled()
    assert [each.told for each in askers[2:]] == [[1], [2, 1], [3, 2]]
    for each in askers:
        each.may_end.set()
    assert all(await asyncio.gather(*(each.task for each in askers))) and queue.ahead == 0


async def test_turns_go_round_by_user() -> None:
    queue, order = Queue(1, 20), list[Asker]()
    askers = [Asker(queue, user, order) for user in ["anna"] * 5 + ["ben", "ben", "cleo"]]
    await settled()
    assert askers[5].told[-1] == 1, "who asked once is not behind another's four"
    for turn in range(8):
        await settled()
        order[turn].may_end.set()
        await order[turn].task
    assert [each.user for each in order] == ["anna", "ben", "cleo", "anna", "ben", "anna", "anna", "anna"]


async def test_who_does_not_want_it_any_more_leaves_and_the_others_move_up() -> None:
    queue = Queue(1, 10)
    first, second, third = (Asker(queue, user) for user in "abc")
    await settled()
    second.gone = True
    assert await second.task is False
    assert third.told == [2, 1]
    third.task.cancel()
    await settled()
    first.may_end.set()
    assert await first.task is True and queue.ahead == 0


async def test_too_many_are_told_to_come_back() -> None:
    queue = Queue(1, 1)
    askers = [Asker(queue, "a"), Asker(queue, "a")]
    await settled()
    with pytest.raises(Busy) as caught:
        async with queue.place("b", lambda ahead: None):
            pass
    assert caught.value.retry_after_s
    for each in askers:
        each.may_end.set()
    await asyncio.gather(*(each.task for each in askers))


async def test_a_failure_gives_the_place_back() -> None:
    queue = Queue(1, 1)
    with pytest.raises(ValueError):
        async with queue.place("a", lambda ahead: None):
            raise ValueError
    async with queue.place("a", lambda ahead: None) as mine:
        assert mine
