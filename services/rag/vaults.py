"""Open vaults: one encrypted database and one index per user, the least used closed first."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ParamSpec, TypeVar

from services.rag.engines import Vectors
from services.rag.index import VectorIndex
from services.rag.index.flat import mirror_on, search_in_one_thread
from services.rag.index.kept import FaissIndex, KeptIndex
from services.rag.index.pgvector import PostgresIndex, VectorTable
from services.rag.index.source import VectorSource
from services.rag.query_cache import QueryCache, Version
from services.rag.schema import STEPS
from services.rag.settings import Settings
from shared.errors import ProductError, StorageFailed
from shared.storage import sqlcipher
from shared.storage.keyring import Keyring
from shared.telemetry import here

log = logging.getLogger(__name__)

Result = TypeVar("Result")
Given = ParamSpec("Given")
THREADS = 8
PAGES_KIB = 8192
"""Most of a vault's pages kept decrypted while it is open: each one read anew is deciphered anew, some 15 us."""
LOOK_S = 5.0
"""How long an open vault is used without asking for its key."""

Keep = Callable[[VectorSource, threading.RLock], KeptIndex]
"""How a vault's index is kept, given its vectors and its lock."""


class Vault:
    """One user's database and index. Use it with `lock` held: SQLite's connection is one thread's at a time."""

    def __init__(
        self, path: Path, key: bytes, model: str, dimensions: int, keep: Keep = FaissIndex, queries_bytes: int = 0
    ) -> None:
        self.lock = threading.RLock()
        self.path = path
        self.model = model
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.db = sqlcipher.connect(path, key)
        path.chmod(0o600)
        self.db.execute(f"PRAGMA cache_size = -{PAGES_KIB}")
        self.db.create_function("folded", 1, _folded, deterministic=True)
        sqlcipher.migrate(self.db, STEPS)
        self.kept = keep(VectorSource(self.db, model, dimensions), self.lock)
        self.queries = QueryCache(queries_bytes)
        self.tended = False
        """Whether its index is being built or written in the background; meanwhile it is not closed for room."""

    @property
    def index(self) -> VectorIndex:
        """The vectors, read from the vault when first asked for."""
        return self.kept.index

    @property
    def stale(self) -> int:
        """Passages that another model embedded; only words find them until the index is rebuilt."""
        return self.kept.foreign

    @property
    def version(self) -> Version:
        """Another one after every change, by this connection or by another."""
        with sqlcipher.in_our_words():
            return self.db.total_changes, self.db.execute("PRAGMA data_version").fetchone()[0]

    @property
    def index_bytes(self) -> int:
        return self.kept.bytes + self.queries.bytes

    def follow(self, removed: Sequence[int], added: Sequence[int] = (), vectors: Vectors | None = None) -> None:
        """Bring the index up to what was just committed; an index that cannot follow is read anew when next needed."""
        try:
            self.kept.follow(removed, added, vectors)
        except Exception:
            log.exception("an index could not follow its vault")
            self.forget_index()

    def forget_index(self) -> None:
        self.kept.forget()

    def clear_index(self) -> None:
        """After all vectors were removed or exchanged."""
        self.kept.clear()

    def close(self) -> None:
        with self.lock:
            self.kept.close()
            self.db.close()

    def delete(self) -> None:
        with self.lock:
            self.forget_index()  # or closing would write it down first
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
    bytes: int = 0
    """What its index took when last used; asking a thousand vaults at every search takes longer than searching."""
    callers: int = 0
    """Who has the turn or waits for it; a vault with callers is not closed."""


class Vaults:
    """Gives a user's vault to one piece of work at a time, in a bounded pool of threads.

    With `table` the vectors are in PostgreSQL.
    """

    def __init__(
        self, settings: Settings, keyring: Keyring, *, model: str, dimensions: int, table: VectorTable | None = None
    ) -> None:
        self._settings = settings
        self._keyring = keyring
        self._model, self._dimensions = model, dimensions
        self._seats: OrderedDict[str, _Seat] = OrderedDict()
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="vault", initializer=search_in_one_thread)
        self._gardener = ThreadPoolExecutor(1, thread_name_prefix="index", initializer=_yield_to_searches)
        self._table = table
        self._mirror = mirror_on(settings.index_device)
        here().ask("nemo_vaults_open", lambda: len(self._open_ones()))
        here().ask("nemo_index_bytes", lambda: sum(seat.bytes for seat in self._seats.values()))

    def _open_ones(self) -> list[Vault]:
        return [seat.vault for seat in list(self._seats.values()) if seat.vault is not None]

    async def run(self, user_id: str, work: Callable[[Vault], Result]) -> Result:
        """`work(vault)` in a thread, alone with the vault. Raises NotFound for a deleted user, VaultLocked."""
        try:
            async with self._turn(user_id) as seat:
                vault = await self._opened(user_id, seat)
                try:
                    found = await self._thread(_alone, vault, work)
                finally:
                    seat.bytes = vault.index_bytes
                self._tend(vault)
                return found
        finally:
            self._trim()

    async def _opened(self, user_id: str, seat: _Seat) -> Vault:
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
                seat.vault = await self._thread(self._open, user_id, key)
        return seat.vault

    def _open(self, user_id: str, key: bytes) -> Vault:
        def keep(source: VectorSource, lock: threading.RLock) -> KeptIndex:
            if self._table is not None:
                return PostgresIndex(source, self._table, user_id)
            return FaissIndex(source, lock, self._settings.index_exact_most, self._mirror)

        most = self._settings.query_cache_bytes
        return Vault(self._path(user_id), key, self._model, self._dimensions, keep, most)

    async def _shut(self, seat: _Seat) -> None:
        vault, seat.vault, seat.bytes = seat.vault, None, 0
        if vault is not None:
            await self._thread(vault.close)

    def _tend(self, vault: Vault) -> None:
        """One index at a time over all users: building is long work, and searches come first."""
        if vault.tended or not vault.kept.due:
            return
        vault.tended = True
        self._gardener.submit(_tended, vault)

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
        total = sum(seat.bytes for seat in self._seats.values())
        for user_id, seat in list(self._seats.items()):
            over = len(self._seats) > self._settings.open_vaults or total > self._settings.index_bytes
            if seat.callers or not (over or seat.vault is None) or len(self._seats) == 1:
                continue
            if seat.vault is not None and seat.vault.tended:
                continue
            del self._seats[user_id]
            if seat.vault is not None:
                total -= seat.bytes
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
            vault, seat.vault, seat.bytes = seat.vault, None, 0
            if vault is not None:
                await self._thread(vault.delete)
            else:
                await self._thread(_remove_files, self._path(user_id))
            if self._table is not None:
                await self._table.delete_owner(user_id)

    async def close(self) -> None:
        """Waits for the work that was begun."""
        for seat in self._seats.values():
            if seat.vault is not None:
                await self._thread(seat.vault.close)
        self._seats.clear()
        await asyncio.to_thread(self._gardener.shutdown)
        self._pool.shutdown()


def _alone(vault: Vault, work: Callable[[Vault], Result]) -> Result:
    with vault.lock:
        return work(vault)


def _tended(vault: Vault) -> None:
    try:
        vault.kept.tend()
    finally:
        vault.tended = False


def _yield_to_searches() -> None:
    """Linux schedules threads, not processes: this one and what it starts stand back behind all others."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
