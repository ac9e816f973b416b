"""What waits to be sent to one client; a client that reads slowly gets fewer looks, never fewer finals."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable

from shared.errors import VaultLocked
from shared.schemas.live import CLOSE_LOCKED, CLOSE_TAKEN_OVER, CLOSE_TOO_SLOW, Ack, Event, Failed, Partial

MOST = 5_000
"""Events that wait; whoever lets more pile up does not read at all, and may come back with the token."""


class Closed(Exception):
    """The client is to be let go; `code` is the WebSocket's."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Outbox:
    """Of one connection."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._bell = asyncio.Event()
        self._close: int | None = None

    def put(self, event: Event) -> None:
        """Never waits. A newer ack replaces one that was not sent; partials of one utterance become one."""
        last = self._events[-1] if self._events else None
        if isinstance(event, Ack) and isinstance(last, Ack):
            self._events[-1] = event
        elif isinstance(event, Partial) and isinstance(last, Partial) and last.utterance == event.utterance:
            settled = f"{last.settled} {event.settled}".strip()
            self._events[-1] = event.model_copy(update={"settled": settled})
        elif len(self._events) >= MOST:
            self._close = CLOSE_TOO_SLOW
        else:
            self._events.append(event)
        self._bell.set()

    def refill(self, events: Iterable[Event]) -> None:
        """What a client that comes back has missed, however much it is."""
        self._events.extend(events)
        self._bell.set()

    def taken_over(self) -> None:
        """Another connection has the stream now."""
        self.put(Failed(code="taken_over", detail="This stream goes on over another connection."))
        self._close = CLOSE_TAKEN_OVER

    def locked(self) -> None:
        """The vault was locked; the client may come back with its token."""
        self.put(Failed(code=VaultLocked.code, detail="The vault was locked. What was acknowledged is kept."))
        self.end(CLOSE_LOCKED)

    def end(self, code: int) -> None:
        """Nothing more comes: close once all is sent."""
        self._close = self._close or code
        self._bell.set()

    async def get(self) -> Event:
        """The next event. Raises Closed."""
        while not self._events:
            if self._close is not None:
                raise Closed(self._close)
            self._bell.clear()
            await self._bell.wait()
        if self._close == CLOSE_TOO_SLOW:
            raise Closed(self._close)
        return self._events.popleft()
