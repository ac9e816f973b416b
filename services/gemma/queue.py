"""Whose answer is written next: so many at once, and turns go round by user, so that nobody's ten questions keep
another's one waiting."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from shared.errors import Busy
from shared.lifecycle import comes
from shared.telemetry import here

LOOK_S = 0.25
"""Between two looks at whether the answer is still wanted."""
RETRY_S = 5.0


@dataclass(eq=False)
class Waiter:
    user: str
    tell: Callable[[int], None]
    told: int | None = None
    turn: asyncio.Event = field(default_factory=asyncio.Event)


class Queue:
    """Bounded, in one event loop."""

    def __init__(self, places: int, most_waiting: int) -> None:
        self._places, self._most = places, most_waiting
        self._writing: list[str] = []
        """The user of each answer that is written."""
        self._waiting: list[Waiter] = []
        self._served: dict[str, int] = {}
        """When a user was last given a place; only of users who wait or write."""
        self._tick = 0

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def writing(self) -> int:
        return len(self._writing)

    @property
    def ahead(self) -> int:
        """Answers that a new one would have to wait for; 0 where it could begin at once."""
        return len(self._waiting) + 1 if len(self._writing) >= self._places or self._waiting else 0

    @asynccontextmanager
    async def place(
        self, user: str, tell: Callable[[int], None], *, unless: Callable[[], bool] = lambda: False
    ) -> AsyncIterator[bool]:
        """A place inside; False where `unless()` came first. Raises Busy where too many wait.

        `tell` hears how many answers have to end first, when it has to wait and whenever that changes.
        """
        waiter, began = Waiter(user, tell), time.perf_counter()
        if len(self._writing) < self._places and not self._waiting:
            self._give(waiter)
        elif len(self._waiting) >= self._most:
            raise Busy("Too many answers wait for the language model; try again in a moment.", retry_after_s=RETRY_S)
        else:
            self._waiting.append(waiter)
            self._tell()
        try:
            while not waiter.turn.is_set() and not unless():
                await comes(waiter.turn, LOOK_S)
            here().took("nemo_llm_queue_seconds", time.perf_counter() - began)
            yield waiter.turn.is_set()
        finally:
            self._leave(waiter)

    def _leave(self, waiter: Waiter) -> None:
        if waiter.turn.is_set():
            self._writing.remove(waiter.user)
        else:
            self._waiting.remove(waiter)
        while self._waiting and len(self._writing) < self._places:
            following = self._order()[0]
            self._waiting.remove(following)
            self._give(following)
        present = {*self._writing, *(each.user for each in self._waiting)}
        self._served = {user: tick for user, tick in self._served.items() if user in present}
        self._tell()

    def _give(self, waiter: Waiter) -> None:
        self._tick += 1
        self._served[waiter.user] = self._tick
        self._writing.append(waiter.user)
        waiter.turn.set()

    def _order(self) -> list[Waiter]:
        """Who comes when if nobody else comes: each user's first, then each one's second, and so on.

        Within a round first who has the fewest answers in the making, then whose last turn is longest ago.
        """
        seen: dict[str, int] = {}
        ranks = []
        for at, waiter in enumerate(self._waiting):
            nth = seen[waiter.user] = seen.get(waiter.user, self._writing.count(waiter.user) - 1) + 1
            ranks.append(((nth, self._served.get(waiter.user, 0), at), waiter))
        return [waiter for _, waiter in sorted(ranks, key=lambda each: each[0])]

    def _tell(self) -> None:
        for ahead, waiter in enumerate(self._order(), start=1):
            if waiter.told != ahead:
                waiter.told = ahead
                waiter.tell(ahead)
