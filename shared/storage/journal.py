"""An encrypted file that only grows: what was appended is durable, and a torn end is cut off when it is opened again.

Layout: magic `NMJ1`, then frames: length of the plaintext (4 bytes, big endian) and an envelope of shared.crypto with
the associated data `owner/name/frame number`, so frames cannot be reordered, repeated or moved to another owner.
A frame written anew after a torn one has a nonce of its own.
"""

from __future__ import annotations

import asyncio
import os
import threading
from array import array
from bisect import bisect_right
from pathlib import Path

from shared.crypto.envelope import NONCE_BYTES, VERSION, WrongKey, seal, unseal
from shared.errors import StorageFailed
from shared.storage.blobs import TAG_BYTES, in_our_words, sync_folder

MAGIC = b"NMJ1"
LENGTH_BYTES = 4
ENVELOPE_BYTES = len(VERSION) + NONCE_BYTES + TAG_BYTES


class Journal:
    """One growing file of one writer. Made by `Journals.open`; close it."""

    def __init__(self, path: Path, key: bytes, aad: bytes) -> None:
        """Blocking. Raises WrongKey where the file is another's or was changed."""
        self._key, self._aad = key, aad
        self._turn = threading.Lock()
        self._closed = False
        self._offsets = array("Q")
        """Where each frame begins in the file."""
        self._starts = array("Q")
        """Which byte of the plaintext each frame begins with."""
        self.size_bytes = 0
        """Plaintext that is durable."""
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._end = len(MAGIC)
        header = os.pread(self._file, len(MAGIC), 0)
        if len(header) < len(MAGIC):  # new, or torn before it held anything
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, MAGIC, 0)
            os.fsync(self._file)
            sync_folder(path.parent)
        elif header != MAGIC:
            os.close(self._file)
            raise WrongKey
        self._scan(os.fstat(self._file).st_size)

    def _scan(self, size: int) -> None:
        """Find the frames; what is not whole was never acknowledged and goes."""
        while self._end + LENGTH_BYTES <= size:
            length = int.from_bytes(os.pread(self._file, LENGTH_BYTES, self._end), "big")
            end = self._end + LENGTH_BYTES + ENVELOPE_BYTES + length
            if end > size or length == 0:
                break
            self._add(length, end)
        self._drop_torn()
        os.ftruncate(self._file, self._end)

    def _drop_torn(self) -> None:
        """A power cut may leave the length of a last frame on the disk without its bytes."""
        if not self._offsets:
            return
        self._frame(0)  # with the wrong key nothing may be cut off
        try:
            self._frame(len(self._offsets) - 1)
        except WrongKey:
            self._end, self.size_bytes = self._offsets.pop(), self._starts.pop()

    def _add(self, length: int, end: int) -> None:
        self._offsets.append(self._end)
        self._starts.append(self.size_bytes)
        self._end, self.size_bytes = end, self.size_bytes + length

    def append(self, data: bytes) -> None:
        """Blocking. Durable when it returns. Raises DiskFull, and has added nothing then."""
        if not data:
            return
        with self._turn:
            self._append(data)

    def _append(self, data: bytes) -> None:
        self._require_open()
        sealed = seal(self._key, data, self._named(len(self._offsets)))
        frame = len(data).to_bytes(LENGTH_BYTES, "big") + sealed
        with in_our_words():
            try:
                written = os.pwrite(self._file, frame, self._end)
                while written < len(frame):
                    written += os.pwrite(self._file, frame[written:], self._end + written)
                os.fsync(self._file)
            except OSError:
                os.ftruncate(self._file, self._end)
                raise
        self._add(len(data), self._end + len(frame))

    def read(self, start: int, end: int) -> bytes:
        """Blocking. Plaintext bytes `[start, end)`, as far as there are any. Raises WrongKey for a changed file."""
        with self._turn:
            self._require_open()
            return self._read(start, min(end, self.size_bytes))

    def _read(self, start: int, end: int) -> bytes:
        parts = []
        number = max(0, bisect_right(self._starts, start) - 1)
        while number < len(self._offsets) and self._starts[number] < end:
            plain, base = self._frame(number), self._starts[number]
            parts.append(plain[max(0, start - base) : end - base])
            number += 1
        return b"".join(parts)

    def _frame(self, number: int) -> bytes:
        begin = self._offsets[number] + LENGTH_BYTES
        end = self._offsets[number + 1] if number + 1 < len(self._offsets) else self._end
        return unseal(self._key, os.pread(self._file, end - begin, begin), self._named(number))

    def _named(self, number: int) -> bytes:
        return self._aad + f"/{number}".encode()

    def _require_open(self) -> None:
        if self._closed:
            raise StorageFailed("This recording is not open any more.")

    def close(self) -> None:
        with self._turn:
            if not self._closed:
                self._closed = True
                os.close(self._file)


class Journals:
    """One folder per owner under `root`. Names are ours (ids), never a user's."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def _path(self, owner: str, name: str) -> Path:
        return self._root / owner / f"{name}.journal"

    async def open(self, owner: str, name: str, key: bytes) -> Journal:
        with in_our_words():
            path = self._path(owner, name)
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            return await asyncio.to_thread(Journal, path, key, f"{owner}/{name}".encode())

    def delete(self, owner: str, name: str) -> None:
        with in_our_words():
            self._path(owner, name).unlink(missing_ok=True)
