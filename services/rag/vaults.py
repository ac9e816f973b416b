"""Open vaults: one encrypted database and one index per user, the least used closed first."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ParamSpec, TypeVar

import numpy as np

from services.rag.engines import Vectors
from services.rag.index import VectorIndex
from services.rag.schema import STEPS
from services.rag.settings import Settings
from shared.errors import ProductError, StorageFailed
from shared.storage import sqlcipher
from shared.storage.keyring import Keyring

log = logging.getLogger(__name__)

Result = TypeVar("Result")
Given = ParamSpec("Given")
THREADS = 8
LOOK_S = 5.0
"""How long an open vault is used without asking for its key."""


class Vault:
    """One user's database and index. Use it with `lock` held: SQLite's connection is one thread's at a time."""

    def __init__(self, path: Path, key: bytes, model: str, dimensions: int) -> None:
        self.lock = threading.RLock()
        self.path = path
        self.model = model
        self.stale = 0
        """Passages that another model embedded; only words find them until the index is rebuilt."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.db = sqlcipher.connect(path, key)
        path.chmod(0o600)
        self.db.create_function("folded", 1, _folded, deterministic=True)
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

    def follow(self, removed: Sequence[int], added: Sequence[int] = (), vectors: Vectors | None = None) -> None:
        """Bring the index up to what was just committed; an index that cannot follow is read anew when next needed."""
        if self._index is None:
            return
        try:
            self._index.remove(removed)
            if vectors is not None:
                self._index.add(added, vectors)
        except Exception:
            log.exception("an index could not follow its vault")
            self.forget_index()

    def forget_index(self) -> None:
        self._index = None

    def _load(self) -> VectorIndex:
        index = VectorIndex(self._dimensions)
        fits = "model = ? AND length(vector) = ?"
        values = (self.model, self._dimensions * np.dtype(np.float32).itemsize)
        with sqlcipher.in_our_words():
            rows = self.db.execute(f"SELECT chunk_id, vector FROM chunk WHERE {fits}", values).fetchall()  # noqa: S608
            self.stale = self.db.execute("SELECT count(*) FROM chunk").fetchone()[0] - len(rows)
        if rows:
            vectors = np.frombuffer(b"".join(row[1] for row in rows), dtype=np.float32)
            index.add([row[0] for row in rows], vectors.reshape(len(rows), self._dimensions))
        return index

    def close(self) -> None:
        with self.lock:
            self.db.close()

    def delete(self) -> None:
        self.close()
        _remove_files(self.path)


def _folded(text: str | None) -> str | None:
    """For comparing in any case of letters of any script; SQLite's own LIKE knows ASCII only."""
    return text.casefold() if isinstance(text, str) else None


def _remove_files(path: Path) -> None:
    for each in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
        each.unlink(missing_ok=True)


@dataclass
class _Seat:
    """One user's place at the table: who has the turn has the vault."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    vault: Vault | None = None
    looked_at: float = 0.0
    """When it was last seen that its key may be had, by the loop's clock."""
    callers: int = 0
    """Who has the turn or waits for it; a vault with callers is not closed."""


class Vaults:
    """Gives a user's vault to one piece of work at a time, in a bounded pool of threads."""

    def __init__(self, settings: Settings, keyring: Keyring, *, model: str, dimensions: int) -> None:
        self._settings = settings
        self._keyring = keyring
        self._model, self._dimensions = model, dimensions
        self._seats: OrderedDict[str, _Seat] = OrderedDict()
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="vault")

    async def run(self, user_id: str, work: Callable[[Vault], Result]) -> Result:
        """`work(vault)` in a thread, alone with the vault. Raises NotFound for a deleted user, VaultLocked."""
        try:
            async with self._turn(user_id) as seat:
                return await self._thread(_alone, await self._open(user_id, seat), work)
        finally:
            self._trim()

    async def _open(self, user_id: str, seat: _Seat) -> Vault:
        """Now and then an open one is asked for its key anew: nobody may have told us that it was sealed or deleted."""
        now = asyncio.get_running_loop().time()
        if seat.vault is None or now - seat.looked_at > LOOK_S:
            try:
                key = await self._keyring.data_key(user_id)
            except StorageFailed:
                if seat.vault is None:
                    raise
                return seat.vault
            except ProductError:
                await self._shut(seat)
                raise
            seat.looked_at = now
            if seat.vault is None:
                seat.vault = await self._thread(Vault, self._path(user_id), key, self._model, self._dimensions)
        return seat.vault

    async def _shut(self, seat: _Seat) -> None:
        vault, seat.vault = seat.vault, None
        if vault is not None:
            await self._thread(vault.close)

    @asynccontextmanager
    async def _turn(self, user_id: str) -> AsyncIterator[_Seat]:
        """Waiting here holds no thread, so one user's queue is nobody else's."""
        seat = self._seats.setdefault(user_id, _Seat())
        self._seats.move_to_end(user_id)
        seat.callers += 1
        try:
            async with seat.turn:
                yield seat
        finally:
            seat.callers -= 1

    async def _thread(self, call: Callable[Given, Result], *given: Given.args, **named: Given.kwargs) -> Result:
        """A thread cannot be stopped: whoever gives up still waits until it has let go of the vault."""
        future = asyncio.get_running_loop().run_in_executor(self._pool, lambda: call(*given, **named))
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait({future})
            raise

    def _path(self, user_id: str) -> Path:
        return self._settings.data_dir / "vaults" / f"{user_id}.db"

    def _trim(self) -> None:
        """Close what was used least until the bounds hold; never a vault that somebody is using."""
        total = sum(seat.vault.index_bytes for seat in self._seats.values() if seat.vault is not None)
        for user_id, seat in list(self._seats.items()):
            over = len(self._seats) > self._settings.open_vaults or total > self._settings.index_bytes
            if seat.callers or not (over or seat.vault is None) or len(self._seats) == 1:
                continue
            del self._seats[user_id]
            if seat.vault is not None:
                total -= seat.vault.index_bytes
                self._pool.submit(seat.vault.close)

    async def lock(self, user_id: str) -> None:
        """Closed, and its index gone from memory, when this returns; who waits for a turn finds it locked."""
        try:
            async with self._turn(user_id) as seat:
                await self._shut(seat)
        finally:
            self._trim()

    async def delete(self, user_id: str) -> None:
        """The file is gone when this returns."""
        self._keyring.lock(user_id)
        async with self._turn(user_id) as seat:
            vault, seat.vault = seat.vault, None
            if vault is not None:
                await self._thread(vault.delete)
            else:
                await self._thread(_remove_files, self._path(user_id))

    async def close(self) -> None:
        """Waits for the work that was begun."""
        for seat in self._seats.values():
            if seat.vault is not None:
                await self._thread(seat.vault.close)
        self._seats.clear()
        self._pool.shutdown()


def _alone(vault: Vault, work: Callable[[Vault], Result]) -> Result:
    with vault.lock:
        return work(vault)
