"""Each user's data key, wrapped by the master key.

Whoever destroys the key has destroyed all that it sealed: audio, vault, vectors. A destroyed key is remembered as
destroyed, so that a late task cannot make a new one for a user who is gone.
"""

from __future__ import annotations

from typing import Protocol

from shared.crypto.envelope import derive, new_key, seal, unseal
from shared.errors import NotFound
from shared.storage.postgres import Pool, in_our_words

SCHEMA = """
CREATE TABLE IF NOT EXISTS user_key (
    user_id      text PRIMARY KEY,
    wrapped      bytea,
    created_at   timestamptz NOT NULL DEFAULT now(),
    destroyed_at timestamptz
)
"""


class Keyring(Protocol):
    """Gives and destroys data keys of 32 bytes."""

    async def data_key(self, user_id: str) -> bytes:
        """The key of a user, made on first use. Raises NotFound once it was destroyed."""
        ...

    async def destroy(self, user_id: str) -> None: ...


class PostgresKeyring:
    """Wrapped keys in the table `user_key`; keys stay in memory of the process that asked."""

    def __init__(self, pool: Pool, master: str) -> None:
        self._pool = pool
        self._master = derive(master, "nemo data key wrapping v1")

    async def prepare(self) -> None:
        with in_our_words():
            async with self._pool.acquire() as connection, connection.transaction():
                # Two services starting together would otherwise race inside CREATE TABLE IF NOT EXISTS.
                await connection.execute("SELECT pg_advisory_xact_lock(1802723689)")
                await connection.execute(SCHEMA)

    async def data_key(self, user_id: str) -> bytes:
        wrapped = await self._wrapped(user_id) or await self._make(user_id)
        return unseal(self._master, wrapped, user_id.encode())

    async def _wrapped(self, user_id: str) -> bytes | None:
        with in_our_words():
            row = await self._pool.fetchrow("SELECT wrapped, destroyed_at FROM user_key WHERE user_id = $1", user_id)
        if row is not None and row["destroyed_at"] is not None:
            raise NotFound("This account was deleted.")
        return None if row is None else bytes(row["wrapped"])

    async def _make(self, user_id: str) -> bytes:
        fresh = seal(self._master, new_key(), user_id.encode())
        with in_our_words():
            await self._pool.execute(
                "INSERT INTO user_key (user_id, wrapped) VALUES ($1, $2) ON CONFLICT DO NOTHING", user_id, fresh
            )
        stored = await self._wrapped(user_id)
        if stored is None:
            raise NotFound("This account was deleted.")
        return stored

    async def destroy(self, user_id: str) -> None:
        with in_our_words():
            await self._pool.execute(
                "INSERT INTO user_key (user_id, wrapped, destroyed_at) VALUES ($1, NULL, now())"
                " ON CONFLICT (user_id) DO UPDATE SET wrapped = NULL, destroyed_at = now()",
                user_id,
            )


class MemoryKeyring:
    """The twin: keys live as long as the object."""

    def __init__(self) -> None:
        self._keys: dict[str, bytes | None] = {}

    async def data_key(self, user_id: str) -> bytes:
        key = self._keys.setdefault(user_id, new_key())
        if key is None:
            raise NotFound("This account was deleted.")
        return key

    async def destroy(self, user_id: str) -> None:
        self._keys[user_id] = None
