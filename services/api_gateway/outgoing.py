"""What waits to be sent to the client of a voice chat: events in their order, and sound that can be taken back."""

from __future__ import annotations

import asyncio
from collections import deque

from shared.schemas.voice import CLOSE_TOO_SLOW, Sentence, SoundBegins, VoiceEvent

MOST = 2_000
"""Messages that wait; whoever lets more pile up does not read at all."""
SOUND = (Sentence, SoundBegins, bytes)


class Closed(Exception):
    """Nothing more is to be sent; `code` is the WebSocket's."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Outgoing:
    """Of one connection."""

    def __init__(self) -> None:
        self._waiting: deque[VoiceEvent | bytes] = deque()
        self._bell = asyncio.Event()
        self._code: int | None = None
        self._seq = 0

    def put(self, message: VoiceEvent | bytes) -> None:
        """Never waits."""
        if self._code is not None:
            return
        if len(self._waiting) >= MOST:
            self._waiting.clear()
            self._code = CLOSE_TOO_SLOW
        else:
            self._waiting.append(message)
        self._bell.set()

    def drop_sound(self) -> None:
        """What was not sent yet of an answer's sound; its text stays."""
        self._waiting = deque(each for each in self._waiting if not isinstance(each, SOUND))

    def forget(self) -> None:
        """What waits is for nobody any more."""
        self._waiting.clear()

    def end(self, code: int) -> None:
        """Close once all is sent; the first code stands."""
        self._code = self._code if self._code is not None else code
        self._bell.set()

    async def get(self) -> str | bytes:
        """The next message; an event gets its number here, so that those taken back leave no gap. Raises Closed."""
        while not self._waiting:
            if self._code is not None:
                raise Closed(self._code)
            self._bell.clear()
            await self._bell.wait()
        message = self._waiting.popleft()
        if isinstance(message, bytes):
            return message
        self._seq += 1
        message.seq = self._seq
        return message.model_dump_json(exclude_none=True)
