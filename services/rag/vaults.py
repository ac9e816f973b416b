"""Open vaults: one encrypted database and one index per user, the least used closed first."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np

from services.rag.index import VectorIndex
from services.rag.schema import STEPS
from services.rag.settings import Settings
from shared.storage import sqlcipher
from shared.storage.keyring import Keyring

Result = TypeVar("Result")


class Vault:
    """One user's database and index. Use it with `lock` held: SQLite's connection is one thread's at a time."""

    def __init__(self, path: Path, key: bytes, model: str, dimensions: int) -> None:
        self.lock = threading.RLock()
        self.path = path
        self.model = model
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.db = sqlcipher.connect(path, key)
        path.chmod(0o600)
        sqlcipher.migrate(self.db, STEPS)
        self._dimensions = dimensions
        self._index: VectorIndex | None = None

    @property
    def index(self) -> VectorIndex:
        """The vectors in memory, read from the vault when first asked for."""
        if self._index is None:
            self._index = self._load()
        return self._index

    @property
    def index_bytes(self) -> int:
        return self._index.bytes if self._index is not None else 0

    def forget_index(self) -> None:
        self._index = None

    def _load(self) -> VectorIndex:
        index = VectorIndex(self._dimensions)
        with sqlcipher.in_our_words():
            rows = self.db.execute("SELECT chunk_id, vector FROM chunk WHERE model = ?", (self.model,)).fetchall()
        if rows:
            vectors = np.frombuffer(b"".join(row[1] for row in rows), dtype=np.float32)
            index.add([row[0] for row in rows], vectors.reshape(len(rows), self._dimensions))
        return index

    def close(self) -> None:
        self.db.close()


class Vaults:
    """Gives a user's vault to one piece of work at a time, in a bounded pool of threads."""

    def __init__(self, settings: Settings, keyring: Keyring, *, model: str, dimensions: int) -> None:
        self._settings = settings
        self._keyring = keyring
        self._model, self._dimensions = model, dimensions
        self._open: OrderedDict[str, Vault] = OrderedDict()
        self._opening: dict[str, asyncio.Lock] = {}
        self._busy: dict[str, int] = {}
        self._pool = ThreadPoolExecutor(max_workers=8, thread_name_prefix="vault")

    async def run(self, user_id: str, work: Callable[[Vault], Result]) -> Result:
        """`work(vault)` in a thread, alone with the vault. Raises NotFound for a deleted user."""
        self._busy[user_id] = self._busy.get(user_id, 0) + 1
        try:
            vault = await self._vault(user_id)
            return await asyncio.get_running_loop().run_in_executor(self._pool, self._locked, vault, work)
        finally:
            self._busy[user_id] -= 1
            if not self._busy[user_id]:
                del self._busy[user_id]
            self._trim()

    @staticmethod
    def _locked(vault: Vault, work: Callable[[Vault], Result]) -> Result:
        with vault.lock:
            return work(vault)

    async def _vault(self, user_id: str) -> Vault:
        async with self._opening.setdefault(user_id, asyncio.Lock()):
            if user_id not in self._open:
                key = await self._keyring.data_key(user_id)
                loop = asyncio.get_running_loop()
                self._open[user_id] = await loop.run_in_executor(
                    self._pool, Vault, self._path(user_id), key, self._model, self._dimensions
                )
            self._open.move_to_end(user_id)
            return self._open[user_id]

    def _path(self, user_id: str) -> Path:
        return self._settings.data_dir / "vaults" / f"{user_id}.db"

    def _trim(self) -> None:
        """Close what was used least until the bounds hold; never a vault that somebody is using."""
        total = sum(vault.index_bytes for vault in self._open.values())
        for user_id in list(self._open):
            if len(self._open) <= self._settings.open_vaults and total <= self._settings.index_bytes:
                return
            if user_id not in self._busy and len(self._open) > 1:
                total -= self._open[user_id].index_bytes
                self._open.pop(user_id).close()

    async def delete(self, user_id: str) -> None:
        """The file is gone when this returns."""
        async with self._opening.setdefault(user_id, asyncio.Lock()):
            vault = self._open.pop(user_id, None)
            if vault is not None:
                with vault.lock:
                    vault.close()
            path = self._path(user_id)
            for each in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
                each.unlink(missing_ok=True)

    async def close(self) -> None:
        for vault in self._open.values():
            with vault.lock:
                vault.close()
        self._open.clear()
        self._pool.shutdown()
