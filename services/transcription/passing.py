"""A live stream of which nothing is kept: its sound and its words are in memory, and only while they are needed."""

from __future__ import annotations

import threading
from typing import Any

from services.transcription.repository import Recording
from shared.errors import Busy, StorageFailed

MOST_BYTES = 64 * 1024**2
"""Sound that may wait for its words: 35 minutes at 16 kHz."""


class PassingSound:
    """A journal's twin that never touches the disk and lets go of its beginning."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._held: bytearray | None = bytearray()
        self._begin = 0

    @property
    def size_bytes(self) -> int:
        """All that was appended, whatever of it is still held."""
        return self._begin + len(self._held or b"")

    def append(self, data: bytes) -> None:
        """Raises Busy where too much waits for its words."""
        with self._turn:
            held = self._open()
            if len(held) + len(data) > MOST_BYTES:
                raise Busy("More was said than can be kept waiting for its words; begin again in a moment.")
            held += data

    def read(self, start: int, end: int) -> bytes:
        """Bytes `[start, end)`, as far as they are still held."""
        with self._turn:
            return bytes(self._open()[max(0, start - self._begin) : max(0, end - self._begin)])

    def forget(self, before: int) -> None:
        """What comes before this byte is not read any more."""
        with self._turn:
            if self._held is not None and before > self._begin:
                gone = min(before - self._begin, len(self._held))
                del self._held[:gone]
                self._begin += gone

    def close(self) -> None:
        with self._turn:
            self._begin, self._held = self.size_bytes, None

    def _open(self) -> bytearray:
        if self._held is None:
            raise StorageFailed("This stream is not open any more.")
        return self._held


class Unrecorded:
    """What `Recordings` is to a stream that is kept."""

    async def put_part(self, recording: Recording, kind: str, number: int, value: Any) -> None:
        """Words and places in the sound are told, not kept."""

    async def touch(self, recording: Recording, every_s: float) -> bool:
        """It cannot have been deleted by another."""
        return True
