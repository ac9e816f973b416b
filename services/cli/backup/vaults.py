"""Vaults from outside: which schema they have and how much they hold, without changing them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg

from services.cli import keys
from services.cli.backup import Refused
from shared.crypto.envelope import WrongKey, derive
from shared.errors import ProductError
from shared.storage import keyring, sqlcipher
from shared.storage.blobs import FileBlobs

TABLES = ("memory", "transcript", "conversation", "document")


@dataclass
class Seen:
    """What opening every vault has shown."""

    sealed: int = 0
    vaults: int = 0
    schemas: Counter[int] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)
    recordings: int = 0
    users_schema: int = 0


def users_key(secret: str) -> bytes:
    return derive(secret, "nemo users database v1")


@contextmanager
def _opened(path: Path, key: bytes) -> Iterator[Any]:
    """Raises Refused where the file is damaged or not under this key."""
    try:
        database = sqlcipher.connect(path, key)
    except ProductError as error:
        raise Refused(f"{path.name} cannot be opened: {error.detail}") from error
    try:
        yield database
    finally:
        database.close()


async def look(url: str, data_dir: Path, secrets: Path, *, whole: bool) -> Seen:
    """Every vault that no user has sealed. `whole`: every page and every recording is read. Raises Refused."""
    seen = Seen()
    if (data_dir / "users.db").exists():
        with _opened(data_dir / "users.db", users_key(keys.value(secrets, "users_db_key"))) as database:
            seen.users_schema = _schema(database, data_dir / "users.db", whole=whole)
            if seen.users_schema:
                seen.rows["account"] = database.execute("SELECT count(*) FROM user").fetchone()[0]
    for user_id, key in await _data_keys(url, secrets):
        if key is None:
            seen.sealed += 1
            continue
        path = data_dir / "vaults" / f"{user_id}.db"
        if path.exists():
            with _opened(path, key) as database:
                _count(database, path, seen, whole=whole)
        if whole:
            for name in ("blobs", "documents"):
                seen.recordings += await _read_files(data_dir / name, user_id, key)
    return seen


async def _data_keys(url: str, secrets: Path) -> list[tuple[str, bytes | None]]:
    """(user, data key), None for a sealed vault; no key is made for anybody."""
    previous = keys.value(secrets, "rag_db_key_previous") if (secrets / "rag_db_key_previous").exists() else None
    pool = await asyncpg.create_pool(url, min_size=1, max_size=2, timeout=10)
    try:
        if await pool.fetchval("SELECT to_regclass('user_key')") is None:
            return []
        rows = await pool.fetch("SELECT user_id, wrapped IS NULL AS sealed FROM user_key WHERE destroyed_at IS NULL")
        ring = keyring.PostgresKeyring(pool, keys.value(secrets, "rag_db_key"), previous)
        return [(row["user_id"], None if row["sealed"] else await ring.data_key(row["user_id"])) for row in rows]
    except WrongKey as error:
        raise Refused("The master key (rag_db_key) does not open the users' keys.") from error
    finally:
        await pool.close()


def _schema(database: Any, path: Path, *, whole: bool) -> int:
    if whole:
        damaged = database.execute("PRAGMA cipher_integrity_check").fetchall()
        if damaged or database.execute("PRAGMA integrity_check").fetchone()[0] != "ok":
            raise Refused(f"{path.name} is damaged.")
    return int(database.execute("PRAGMA user_version").fetchone()[0])


def _count(database: Any, path: Path, seen: Seen, *, whole: bool) -> None:
    seen.vaults += 1
    seen.schemas[_schema(database, path, whole=whole)] += 1
    there = {row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    for table in there & set(TABLES):
        seen.rows[table] += database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


async def _read_files(root: Path, owner: str, key: bytes) -> int:
    """Each to its end, so that every frame's tag is checked; how many."""
    found = [path for path in (root / owner).glob("[!.]*") if path.suffix != ".journal"]
    for path in found:
        try:
            async for _ in FileBlobs(root).read(owner, path.name, key):
                pass
        except ProductError as error:
            raise Refused(f"{root.name}/{owner}/{path.name} is damaged.") from error
    return len(found)
