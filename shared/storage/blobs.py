"""Encrypted files: written as a stream, read by range.

Layout: magic `NMB1`, 8 random bytes, then frames. Each frame is 64 KiB of plaintext (the last may be shorter, also
empty) under AES-256-GCM with nonce = the 8 bytes + frame number (4 bytes, big endian) and the associated data
`owner/name/last?`. So frames cannot be reordered, cut off at the end, or moved to another owner (the STREAM
construction of Hoang, Reyhanitabar, Rogaway and Vizar, 2015).
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shared.crypto.envelope import WrongKey
from shared.errors import DiskFull, NotFound, StorageFailed, TooLarge

MAGIC = b"NMB1"
FRAME_BYTES = 64 * 1024
TAG_BYTES = 16
HEADER_BYTES = len(MAGIC) + 8


@dataclass(frozen=True)
class BlobInfo:
    """What was stored: bytes and SHA-256 of the plaintext."""

    size_bytes: int
    sha256: str


class Blobs(Protocol):
    """Named files of an owner."""

    async def write(
        self, owner: str, name: str, key: bytes, chunks: AsyncIterator[bytes], *, max_bytes: int
    ) -> BlobInfo:
        """Durable when it returns. Raises TooLarge or DiskFull and then leaves nothing behind."""
        ...

    def read(self, owner: str, name: str, key: bytes, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Plaintext bytes `[start, end)`. Raises NotFound, or WrongKey where the file was changed."""
        ...

    async def size(self, owner: str, name: str) -> int: ...
    async def delete(self, owner: str, name: str) -> None: ...
    async def delete_owner(self, owner: str) -> None: ...


@contextmanager
def in_our_words() -> Iterator[None]:
    """Inside, the operating system's vocabulary; outside, ours."""
    try:
        yield
    except FileNotFoundError as error:
        raise NotFound from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull from error
        raise StorageFailed("The data folder cannot be read or written.") from error


class _Sealer:
    """Turns a stream of any chunk sizes into frames."""

    def __init__(self, key: bytes, aad: bytes, salt: bytes) -> None:
        self._aead, self._aad, self._salt = AESGCM(key), aad, salt
        self._number, self._rest = 0, b""

    def feed(self, chunk: bytes) -> bytes:
        data = self._rest + chunk
        full = (len(data) - 1) // FRAME_BYTES * FRAME_BYTES if data else 0
        self._rest = data[full:]
        return b"".join(self._frame(data[at : at + FRAME_BYTES], last=False) for at in range(0, full, FRAME_BYTES))

    def finish(self) -> bytes:
        return self._frame(self._rest, last=True)

    def _frame(self, plain: bytes, *, last: bool) -> bytes:
        nonce = self._salt + self._number.to_bytes(4, "big")
        self._number += 1
        return self._aead.encrypt(nonce, plain, self._aad + (b"/1" if last else b"/0"))


def _plain_size(stored_bytes: int) -> int:
    body = stored_bytes - HEADER_BYTES
    frames = -(-body // (FRAME_BYTES + TAG_BYTES))
    return body - frames * TAG_BYTES


class FileBlobs:
    """One folder per owner under `root`. Names are ours (ids), never a user's."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def _path(self, owner: str, name: str) -> Path:
        for part in (owner, name):
            if not part.replace("_", "").replace("-", "").replace(".", "").isalnum() or part.startswith("."):
                raise NotFound
        return self._root / owner / name

    async def write(
        self, owner: str, name: str, key: bytes, chunks: AsyncIterator[bytes], *, max_bytes: int
    ) -> BlobInfo:
        path = self._path(owner, name)
        part = path.with_name(f".{name}.{os.urandom(4).hex()}.part")
        with in_our_words():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            try:
                info = await self._write_part(part, key, f"{owner}/{name}".encode(), chunks, max_bytes)
                await asyncio.to_thread(_publish, part, path)
            finally:
                part.unlink(missing_ok=True)
        return info

    async def _write_part(
        self, part: Path, key: bytes, aad: bytes, chunks: AsyncIterator[bytes], max_bytes: int
    ) -> BlobInfo:
        salt, digest, size = os.urandom(8), hashlib.sha256(), 0
        sealer = _Sealer(key, aad, salt)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(MAGIC + salt)
            async for chunk in chunks:
                size += len(chunk)
                if size > max_bytes:
                    raise TooLarge(f"The file is larger than the limit of {max_bytes} bytes.")
                digest.update(chunk)
                await asyncio.to_thread(file.write, sealer.feed(chunk))
            file.write(sealer.finish())
            file.flush()
            await asyncio.to_thread(os.fsync, file.fileno())
        return BlobInfo(size, digest.hexdigest())

    async def read(
        self, owner: str, name: str, key: bytes, start: int = 0, end: int | None = None
    ) -> AsyncIterator[bytes]:
        with in_our_words():
            path = self._path(owner, name)
            size = _plain_size(path.stat().st_size)
            stop = size if end is None else min(end, size)
            with path.open("rb") as file:
                header = file.read(HEADER_BYTES)
                if header[:4] != MAGIC:
                    raise WrongKey
                aad, salt = f"{owner}/{name}".encode(), header[4:]
                for number in range(start // FRAME_BYTES, -(-stop // FRAME_BYTES)):
                    plain = await asyncio.to_thread(_open_frame, file, key, salt, aad, number, size)
                    base = number * FRAME_BYTES
                    yield plain[max(0, start - base) : stop - base]

    async def size(self, owner: str, name: str) -> int:
        with in_our_words():
            return _plain_size(self._path(owner, name).stat().st_size)

    async def delete(self, owner: str, name: str) -> None:
        with in_our_words():
            self._path(owner, name).unlink(missing_ok=True)

    async def delete_owner(self, owner: str) -> None:
        with in_our_words():
            await asyncio.to_thread(shutil.rmtree, self._path(owner, "x").parent, ignore_errors=True)


def _open_frame(file: BinaryIO, key: bytes, salt: bytes, aad: bytes, number: int, size: int) -> bytes:
    file.seek(HEADER_BYTES + number * (FRAME_BYTES + TAG_BYTES))
    last = (number + 1) * FRAME_BYTES >= size
    try:
        return AESGCM(key).decrypt(
            salt + number.to_bytes(4, "big"),
            file.read(FRAME_BYTES + TAG_BYTES),
            aad + (b"/1" if last else b"/0"),
        )
    except InvalidTag as error:
        raise WrongKey from error


def _publish(part: Path, path: Path) -> None:
    """Rename, and make the rename itself survive a power cut."""
    part.replace(path)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Makes what was created or renamed in a folder survive a power cut."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class MemoryBlobs:
    """The twin: plaintext in memory, same answers."""

    def __init__(self) -> None:
        self.files: dict[tuple[str, str], bytes] = {}

    async def write(
        self, owner: str, name: str, key: bytes, chunks: AsyncIterator[bytes], *, max_bytes: int
    ) -> BlobInfo:
        data = b""
        async for chunk in chunks:
            data += chunk
            if len(data) > max_bytes:
                raise TooLarge(f"The file is larger than the limit of {max_bytes} bytes.")
        self.files[owner, name] = data
        return BlobInfo(len(data), hashlib.sha256(data).hexdigest())

    async def read(
        self, owner: str, name: str, key: bytes, start: int = 0, end: int | None = None
    ) -> AsyncIterator[bytes]:
        if (owner, name) not in self.files:
            raise NotFound
        yield self.files[owner, name][start:end]

    async def size(self, owner: str, name: str) -> int:
        if (owner, name) not in self.files:
            raise NotFound
        return len(self.files[owner, name])

    async def delete(self, owner: str, name: str) -> None:
        self.files.pop((owner, name), None)

    async def delete_owner(self, owner: str) -> None:
        for found in [each for each in self.files if each[0] == owner]:
            del self.files[found]
