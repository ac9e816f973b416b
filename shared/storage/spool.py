"""Bytes that are too many for memory, for as long as they are worked on.

They lie on disk in a file without a name, in frames under AES-256-GCM with a key that is never stored: whoever takes
the disk finds noise, and a crash leaves nothing that has to be cleared away.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections import OrderedDict
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shared.crypto.envelope import NONCE_BYTES, new_key
from shared.storage.blobs import TAG_BYTES, in_our_words

FRAME_BYTES = 256 * 1024
"""Plaintext of a frame; 8 s of one channel of 16-bit sound at 16 kHz."""
KEPT_FRAMES = 16
"""Opened frames that are kept: each of the few who read goes forward in small steps."""


class Spool:
    """Written once, from the beginning to `finish`, then read at any place by any thread.

    Gone with the object. Raises DiskFull and StorageFailed.
    """

    def __init__(self, folder: Path) -> None:
        with in_our_words():
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - as long as this object
        self._aead, self._lock = AESGCM(new_key()), threading.Lock()
        self._rest, self._written = bytearray(), 0
        self._opened: OrderedDict[int, bytes] = OrderedDict()
        self.size = 0
        """Bytes of plaintext."""

    def append(self, data: bytes) -> None:
        self._rest += data
        self.size += len(data)
        while len(self._rest) >= FRAME_BYTES:
            self._seal(bytes(self._rest[:FRAME_BYTES]))
            del self._rest[:FRAME_BYTES]

    def finish(self) -> None:
        """Nothing comes any more."""
        if self._rest:
            self._seal(bytes(self._rest))
            self._rest.clear()

    def _seal(self, plain: bytes) -> None:
        sealed = memoryview(self._aead.encrypt(_nonce(self._written), plain, None))
        with in_our_words():
            while sealed:
                sealed = sealed[os.write(self._file.fileno(), sealed) :]
        self._written += 1

    def read(self, start: int, end: int) -> bytes:
        """Blocking. Bytes `[start, end)`, fewer where it ends before."""
        end = min(end, self.size)
        if start >= end:
            return b""
        first = start // FRAME_BYTES
        found = b"".join(self._frame(number) for number in range(first, -(-end // FRAME_BYTES)))
        return found[start - first * FRAME_BYTES : end - first * FRAME_BYTES]

    def _frame(self, number: int) -> bytes:
        with self._lock:
            if (known := self._opened.get(number)) is not None:
                self._opened.move_to_end(number)
                return known
        with in_our_words():
            sealed = os.pread(self._file.fileno(), FRAME_BYTES + TAG_BYTES, number * (FRAME_BYTES + TAG_BYTES))
        plain = self._aead.decrypt(_nonce(number), sealed, None)
        with self._lock:
            self._opened[number] = plain
            while len(self._opened) > KEPT_FRAMES:
                self._opened.popitem(last=False)
        return plain


def _nonce(number: int) -> bytes:
    """Of one key, each number is sealed once."""
    return number.to_bytes(NONCE_BYTES, "big")
