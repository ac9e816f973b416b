"""Each user's data key, wrapped by the master key or, in a sealed vault, by what only the user knows.

Whoever destroys the key has destroyed all that it sealed: audio, vault, vectors. A destroyed key is remembered as
destroyed, so that a late task cannot make a new one for a user who is gone.

A sealed vault has no copy under the master key. Its data key is wrapped by the password and by a recovery code, and
while it is locked nobody has it: results of work in the background are sealed to the vault's public key, whose private
half lies under the data key. Unlocked keys are in the memory of a process and end with it (docs/adr/0014).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, Protocol

import asyncpg

from shared.crypto import passphrase
from shared.crypto.envelope import derive, new_key, seal
from shared.storage.postgres import Pool, in_our_words
from shared.storage.ring import KeyRow, Ring, UserKey

log = logging.getLogger(__name__)
SCHEMA = """
CREATE TABLE IF NOT EXISTS user_key (
    user_id      text PRIMARY KEY,
    wrapped      bytea,
    created_at   timestamptz NOT NULL DEFAULT now(),
    destroyed_at timestamptz
);
ALTER TABLE user_key
    ADD COLUMN IF NOT EXISTS version int NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS master_id text,
    ADD COLUMN IF NOT EXISTS by_password bytea,
    ADD COLUMN IF NOT EXISTS by_next_password bytea,
    ADD COLUMN IF NOT EXISTS by_code bytea,
    ADD COLUMN IF NOT EXISTS public_key bytea,
    ADD COLUMN IF NOT EXISTS private_key bytea
"""
BATCH = 100
_PURPOSE = "nemo data key wrapping v1"


class Keyring(Protocol):
    """Gives, seals and destroys data keys of 32 bytes."""

    async def data_key(self, user_id: str) -> bytes:
        """The key of a user, made on first use. Raises NotFound once it was destroyed, VaultLocked."""
        ...

    async def user_key(self, user_id: str) -> UserKey:
        """The same, with what opens boxes. Raises as `data_key`."""
        ...

    async def keep(self, user_id: str, plaintext: bytes, aad: bytes) -> bytes:
        """Sealed for the user, to the vault's public key where it is locked. Raises NotFound."""
        ...

    async def row(self, user_id: str) -> KeyRow: ...

    async def seal(self, user_id: str, password: str) -> tuple[bytes, str]:
        """From now on only the password and the code open it: the data key, and the code. Raises Conflict."""
        ...

    async def unseal(self, user_id: str, key: bytes) -> None:
        """Back under the master key."""
        ...

    async def by_password(self, user_id: str, password: str, *, accepted: bool) -> bytes:
        """The data key. `accepted`: the accounts know this password, so no other one opens from now on.

        Raises WrongKey, NotFound; Conflict where the vault is not sealed.
        """
        ...

    async def by_code(self, user_id: str, code: str) -> bytes:
        """The data key. Raises as `by_password`."""
        ...

    async def set_password(self, user_id: str, key: bytes, password: str, *, beside: bool) -> None:
        """Wrap it anew. `beside`: the old password opens too, until the new one was accepted."""
        ...

    async def settle(self, user_id: str) -> None:
        """The accounts have the password that was set beside: the old one opens nothing any more."""
        ...

    async def new_code(self, user_id: str, key: bytes) -> str:
        """A new recovery code; the one before opens nothing any more."""
        ...

    async def unlock(self, user_id: str, key: bytes) -> None:
        """In this process. Raises WrongKey where it is not this user's key, NotFound."""
        ...

    def lock(self, user_id: str) -> None:
        """In this process."""
        ...

    async def locked(self, user_id: str) -> bool:
        """In this process."""
        ...

    async def destroy(self, user_id: str) -> None: ...


_COLUMNS = tuple(each.name for each in fields(KeyRow) if each.name not in ("destroyed", "version"))


class PostgresKeyring(Ring):
    """Rows in the table `user_key`."""

    def __init__(
        self, pool: Pool, master: str, previous: str | None = None, cost: passphrase.Cost = passphrase.RECOMMENDED
    ) -> None:
        """`previous` still opens rows that `rewrap` has not come to."""
        super().__init__(derive(master, _PURPOSE), derive(previous, _PURPOSE) if previous else None, cost)
        self._pool = pool

    async def prepare(self) -> None:
        with in_our_words():
            async with self._pool.acquire() as connection, connection.transaction():
                # Two services starting together would otherwise race inside CREATE TABLE IF NOT EXISTS.
                await connection.execute("SELECT pg_advisory_xact_lock(1802723689)")
                await connection.execute(SCHEMA)

    async def _read(self, user_id: str) -> KeyRow | None:
        with in_our_words():
            found = await self._pool.fetchrow("SELECT * FROM user_key WHERE user_id = $1", user_id)
        return None if found is None else _row_of(found)

    async def _insert(self, user_id: str, row: KeyRow) -> None:
        with in_our_words():
            await self._pool.execute(
                "INSERT INTO user_key (user_id, wrapped, master_id, destroyed_at)"
                " VALUES ($1, $2, $3, CASE WHEN $4 THEN now() END) ON CONFLICT DO NOTHING",
                user_id, row.wrapped, row.master_id, row.destroyed,
            )  # fmt: skip

    async def _replace(self, user_id: str, row: KeyRow) -> bool:
        columns = ", ".join(f"{name} = ${at}" for at, name in enumerate(_COLUMNS, 4))
        with in_our_words():
            version = await self._pool.fetchval(
                f"UPDATE user_key SET version = version + 1, {columns},"  # noqa: S608 - our own words only
                " destroyed_at = CASE WHEN $3 THEN now() END"
                " WHERE user_id = $1 AND version = $2 AND destroyed_at IS NULL RETURNING version",
                user_id, row.version, row.destroyed, *(getattr(row, name) for name in _COLUMNS),
            )  # fmt: skip
        return version is not None

    async def _scrub(self) -> None:
        """An UPDATE leaves the row as it was in the table and in the write-ahead log; neither may keep it.

        VACUUM FULL writes the table anew; once a checkpoint lies behind the log's segment, the segment goes (the
        embedded server removes it, others may use its file again, see docs/adr/0014). A server that does not let us
        is told of in the log; the row itself is changed all the same.
        """
        try:
            with in_our_words():
                async with self._pool.acquire() as connection:
                    await connection.execute("VACUUM FULL user_key")
                    await connection.execute("SELECT pg_switch_wal()")
                    await connection.execute("CHECKPOINT")
        except Exception as error:  # what matters is done and must be told to the user
            log.warning("the database may keep old copies of wrapped keys", extra={"kind": type(error).__name__})

    # -- another master key

    async def rewrap(self) -> int:
        """Bring every row under the master key; how many were not. Killed anywhere, both keys together open all.

        Each row is one UPDATE, which counts only where nobody changed the row meanwhile.
        """
        count, after = 0, ""
        while users := await self._elsewhere(after):
            for user_id in users:
                count += await self._rewrapped(user_id)
            after = users[-1]
        if count:
            await self._scrub()
        return count

    async def _elsewhere(self, after: str) -> list[str]:
        with in_our_words():
            rows = await self._pool.fetch(
                "SELECT user_id FROM user_key WHERE wrapped IS NOT NULL AND master_id IS DISTINCT FROM $1"
                " AND user_id > $2 ORDER BY user_id LIMIT $3",
                self._master_id, after, BATCH,
            )  # fmt: skip
        return [row["user_id"] for row in rows]

    async def _rewrapped(self, user_id: str) -> bool:
        """False where it is not needed any more. Raises WrongKey where neither master key opens it."""
        while (row := await self._read(user_id)) is not None and row.wrapped is not None:
            if row.master_id == self._master_id:
                break
            wrapped = seal(self._master, self._by_master(user_id, row), user_id.encode())
            if await self._replace(user_id, replace(row, wrapped=wrapped, master_id=self._master_id)):
                return True
        return False


def _row_of(found: asyncpg.Record | Mapping[str, Any]) -> KeyRow:
    values = {name: found[name] for name in _COLUMNS}
    return KeyRow(**values, version=found["version"], destroyed=found["destroyed_at"] is not None)


class MemoryKeyring(Ring):
    """The twin: rows live as long as the object."""

    def __init__(self, cost: passphrase.Cost = passphrase.RECOMMENDED) -> None:
        super().__init__(new_key(), None, cost)
        self.rows: dict[str, KeyRow] = {}

    async def _read(self, user_id: str) -> KeyRow | None:
        return self.rows.get(user_id)

    async def _insert(self, user_id: str, row: KeyRow) -> None:
        self.rows.setdefault(user_id, row)

    async def _replace(self, user_id: str, row: KeyRow) -> bool:
        if self.rows[user_id].version != row.version or self.rows[user_id].destroyed:
            return False
        self.rows[user_id] = replace(row, version=row.version + 1)
        return True
