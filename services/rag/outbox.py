"""Results of background work for a locked vault, in boxes on the disk until it is unlocked.

One file each, `<data>/vaults/<user>.outbox/<kind>-<id>`, sealed to the vault's public key: whoever put it there cannot
read it again. The same result once more replaces it.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from shared.errors import NotFound
from shared.storage.blobs import in_our_words, sync_folder
from shared.storage.keyring import Keyring

_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")
SUFFIX = ".outbox"


class Outbox:
    """Of all users; every method is told whose."""

    def __init__(self, root: Path, keyring: Keyring) -> None:
        self._root, self._keyring = root, keyring
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def _folder(self, user_id: str) -> Path:
        return self._root / f"{user_id}{SUFFIX}"

    async def put(self, user_id: str, name: str, value: dict[str, Any]) -> None:
        """Durable when it returns. Raises DiskFull, NotFound for a name that is none."""
        if not _NAME.fullmatch(name):
            raise NotFound
        sealed = await self._keyring.keep(user_id, json.dumps(value).encode(), _info(user_id, name))
        async with self._turns[user_id]:
            await asyncio.to_thread(_write, self._folder(user_id) / name, sealed)

    async def count(self, user_id: str) -> int:
        return len(await self.names(user_id))

    async def names(self, user_id: str) -> list[str]:
        """In the order of their ids, which is that of time."""
        return await asyncio.to_thread(_names, self._folder(user_id))

    async def users(self) -> list[str]:
        """For whom something waits."""
        found = await asyncio.to_thread(lambda: sorted(self._root.glob(f"*{SUFFIX}")))
        return [each.name.removesuffix(SUFFIX) for each in found]

    @asynccontextmanager
    async def taking(self, user_id: str, name: str) -> AsyncIterator[dict[str, Any]]:
        """The value; gone once the block ends well. Raises VaultLocked, WrongKey."""
        path = self._folder(user_id) / name
        async with self._turns[user_id]:
            key = await self._keyring.user_key(user_id)
            with in_our_words():
                sealed = await asyncio.to_thread(path.read_bytes)
            yield json.loads(key.open(sealed, _info(user_id, name)))
            await asyncio.to_thread(_remove, path)

    async def delete(self, user_id: str) -> None:
        await asyncio.to_thread(shutil.rmtree, self._folder(user_id), ignore_errors=True)


def _info(user_id: str, name: str) -> bytes:
    return f"outbox/{user_id}/{name}".encode()


def _names(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    found = [each.name for each in folder.iterdir() if not each.name.startswith(".")]
    return sorted(found, key=lambda name: name.partition("-")[2])


def _write(path: Path, sealed: bytes) -> None:
    part = path.with_name(f".{path.name}.part")
    with in_our_words():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(sealed)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        sync_folder(path.parent)
        sync_folder(path.parent.parent)


def _remove(path: Path) -> None:
    with in_our_words():
        path.unlink(missing_ok=True)
        if not any(path.parent.iterdir()):
            path.parent.rmdir()
