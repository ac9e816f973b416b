"""PostgreSQL: a pool, migrations and errors in our words."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg

from shared.errors import AlreadyExists, Invalid, StorageFailed

if TYPE_CHECKING:
    Pool = asyncpg.Pool[Any]
else:
    Pool = asyncpg.Pool

_MIGRATION_LOCK = 0x6E656D6F
"""Key of the advisory lock, so that two services never migrate at once; the bytes spell "nemo"."""


@contextmanager
def in_our_words() -> Iterator[None]:
    """Inside, asyncpg's vocabulary; outside, ours."""
    try:
        yield
    except asyncpg.UniqueViolationError as error:
        raise AlreadyExists from error
    except asyncpg.DataError as error:  # the values, not the server: a NUL character, a number beyond its column
        raise Invalid("Some of the values sent cannot be stored.") from error
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
        raise StorageFailed("The database does not answer; nothing that was saved is lost.") from error


async def connect(url: str, *, min_size: int = 1, max_size: int = 5, wait_s: float = 30) -> Pool:
    """A pool of connections; waits up to `wait_s` seconds for the server to come up."""
    deadline = asyncio.get_running_loop().time() + wait_s
    while True:
        try:
            return await asyncpg.create_pool(
                url,
                min_size=min_size,
                max_size=max_size,
                command_timeout=30,
                timeout=5,
                server_settings={"jit": "off"},
                reset=_as_it_is,
            )
        except (OSError, asyncpg.CannotConnectNowError, TimeoutError) as error:
            if asyncio.get_running_loop().time() > deadline:
                raise StorageFailed(f"PostgreSQL did not answer within {wait_s:.0f} s.") from error
            await asyncio.sleep(0.2)
        except asyncpg.PostgresError as error:  # it answers, and wants nothing of us: a password, a database
            raise StorageFailed(f"PostgreSQL refused us: {error}.") from error


async def _as_it_is(_connection: Any) -> None:
    """Nobody leaves anything behind in a session (locks and listeners are let go where they are taken), so it is not
    wiped after each use: that costs a round trip for every statement, a quarter of the queue's speed."""


async def migrate(pool: Pool, service: str, folder: Path) -> None:
    """Apply the files `NNN_name.sql` of a folder once each, in order; all or nothing per file."""
    with in_our_words():
        async with pool.acquire() as connection:
            await connection.execute("SELECT pg_advisory_lock($1)", _MIGRATION_LOCK)
            try:
                await apply(connection, service, sorted(folder.glob("[0-9][0-9][0-9]_*.sql")))
            finally:
                await connection.execute("SELECT pg_advisory_unlock($1)", _MIGRATION_LOCK)


async def apply(connection: Any, service: str, files: list[Path]) -> None:
    """Those of `files` that this database has not seen. Raises StorageFailed where it has seen newer ones."""
    await connection.execute(
        "CREATE TABLE IF NOT EXISTS schema_migration (service text, version int, applied_at timestamptz DEFAULT now(),"
        " PRIMARY KEY (service, version))"
    )
    rows = await connection.fetch("SELECT version FROM schema_migration WHERE service = $1", service)
    done = {row["version"] for row in rows}
    newest = max((int(file.name[:3]) for file in files), default=0)
    if max(done, default=0) > newest:
        raise StorageFailed(
            f"The database was made by a newer version ({service} is at schema {max(done)}, this version knows "
            f"{newest}). Install the newer version again, or restore a backup that was made before the upgrade."
        )
    for file in files:
        version = int(file.name[:3])
        if version in done:
            continue
        async with connection.transaction():
            await connection.execute(file.read_text(encoding="utf-8"))
            await connection.execute("INSERT INTO schema_migration VALUES ($1, $2)", service, version)


async def answers(pool: Pool) -> str:
    """`ok`, for a health check. Raises StorageFailed within two seconds where the server is gone."""
    with in_our_words():
        await pool.fetchval("SELECT 1", timeout=2)
    return "ok"
