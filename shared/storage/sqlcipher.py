"""SQLCipher: an encrypted SQLite database under a raw key.

A raw 32-byte key costs half a millisecond a connection where a passphrase costs half a second (its PBKDF2 is for
secrets that people can remember).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeAlias

from sqlcipher3 import dbapi2

from shared.errors import AlreadyExists, DiskFull, StorageFailed

Connection: TypeAlias = Any  # dbapi2.Connection; the package has no types
Row = dbapi2.Row


@contextmanager
def in_our_words() -> Iterator[None]:
    """Inside, SQLite's vocabulary; outside, ours."""
    try:
        yield
    except dbapi2.IntegrityError as error:
        raise AlreadyExists from error
    except dbapi2.OperationalError as error:
        if "full" in str(error):
            raise DiskFull from error
        raise StorageFailed from error
    except dbapi2.DatabaseError as error:
        raise StorageFailed("The database file is damaged or its key is wrong; restore it from a backup.") from error


def connect(path: Path | Literal[":memory:"], key: bytes) -> Connection:
    """Open, and make where absent. Every commit is on the disk when it returns (WAL, synchronous=FULL)."""
    with in_our_words():
        connection = dbapi2.connect(str(path), check_same_thread=False, isolation_level=None)
        connection.row_factory = Row
        connection.execute(f"PRAGMA key = \"x'{key.hex()}'\"")
        connection.execute("PRAGMA cipher_memory_security = OFF")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "busy_timeout = 5000"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("PRAGMA secure_delete = ON")
        return connection


@contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """All or nothing; committed and on the disk when the block ends."""
    with in_our_words():
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # SQLite has rolled back by itself where, say, the disk was full
                connection.execute("ROLLBACK")
            raise


def migrate(connection: Connection, steps: Sequence[str]) -> None:
    """Run the steps that this file has not seen; `PRAGMA user_version` counts those it has.

    Raises StorageFailed for a file that has seen more steps than there are here; nothing is changed then.
    """
    with in_our_words():
        done = connection.execute("PRAGMA user_version").fetchone()[0]
        if done > len(steps):
            raise StorageFailed(
                f"The database was made by a newer version (schema {done}, this version knows {len(steps)}). Install"
                " the newer version again, or restore a backup that was made before the upgrade."
            )
        for number, step in enumerate(steps[done:], start=done + 1):
            connection.executescript(f"BEGIN;\n{step}\n;PRAGMA user_version = {number};\nCOMMIT;")
