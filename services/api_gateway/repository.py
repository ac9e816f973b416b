"""Users, sessions and personal tokens in an encrypted database of the gateway's own.

Reading happens on the event loop's thread (a lookup by key, some tens of microseconds), so a revoked session is seen
by the very next request. Writing waits for the disk and happens in one other thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from shared.crypto.envelope import derive
from shared.errors import AlreadyExists, NotFound
from shared.schemas.identity import AccessToken, Session, User
from shared.storage import sqlcipher
from shared.storage.sqlcipher import in_our_words, transaction

Result = TypeVar("Result")
Row = Mapping[str, Any]

STEPS = (
    """
CREATE TABLE user (
    id            TEXT PRIMARY KEY,
    username      TEXT NOT NULL,
    folded        TEXT NOT NULL UNIQUE,
    password_hash TEXT NOT NULL,
    role          TEXT NOT NULL CHECK (role IN ('admin', 'user')),
    disabled      INTEGER NOT NULL DEFAULT 0,
    created_at    TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);
CREATE TABLE session (
    session_id TEXT PRIMARY KEY,
    user_id    TEXT NOT NULL REFERENCES user ON DELETE CASCADE,
    generation INTEGER NOT NULL DEFAULT 0,
    rotated_at REAL NOT NULL,
    expires_at REAL NOT NULL,
    created_at REAL NOT NULL
);
CREATE INDEX session_user ON session (user_id);
CREATE TABLE access_token (
    id           TEXT PRIMARY KEY,
    user_id      TEXT NOT NULL REFERENCES user ON DELETE CASCADE,
    name         TEXT NOT NULL,
    digest       TEXT NOT NULL,
    scopes       TEXT NOT NULL,
    created_at   TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    expires_at   TEXT,
    last_used_at TEXT
);
CREATE INDEX access_token_user ON access_token (user_id);
""",
    """
ALTER TABLE session ADD COLUMN device TEXT NOT NULL DEFAULT 'unknown';
CREATE TABLE audit (
    seq     INTEGER PRIMARY KEY,
    at      TEXT NOT NULL,
    action  TEXT NOT NULL,
    actor   TEXT,
    subject TEXT,
    address TEXT,
    details TEXT NOT NULL,
    mac     BLOB NOT NULL
);
CREATE TABLE audit_head (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    seq  INTEGER NOT NULL,
    mac  BLOB NOT NULL
);
""",
)


def fold(username: str) -> str:
    return username.strip().casefold()


def user_of(row: Row) -> User:
    return User.model_validate({name: row[name] for name in ("id", "username", "role", "disabled", "created_at")})


def session_of(row: Row, current: str | None) -> Session:
    return Session(
        id=row["session_id"],
        device=row["device"],
        created_at=datetime.fromtimestamp(row["created_at"], UTC),
        last_used_at=datetime.fromtimestamp(row["rotated_at"], UTC),
        expires_at=datetime.fromtimestamp(row["expires_at"], UTC),
        current=row["session_id"] == current,
    )


class Accounts:
    """One file, one writing connection, one for short reads and one for long ones."""

    def __init__(self, path: Path | Any, key: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        raw = derive(key, "nemo users database v1")
        self._write = sqlcipher.connect(path, raw)
        path.chmod(0o600)
        sqlcipher.migrate(self._write, STEPS)
        self._read = sqlcipher.connect(path, raw)
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="accounts")
        self._slow = sqlcipher.connect(path, raw)
        self._slow_pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="long reads")

    async def change(self, work: Callable[[Any], Result]) -> Result:
        """`work(connection)` inside one transaction; durable when it returns."""

        def run() -> Result:
            with transaction(self._write):
                return work(self._write)

        return await asyncio.get_running_loop().run_in_executor(self._pool, run)

    async def look(self, work: Callable[[Any], Result]) -> Result:
        """`work(connection)` on one state of the database, however long it takes: nobody waits for it."""

        def run() -> Result:
            with in_our_words():
                self._slow.execute("BEGIN")
                try:
                    return work(self._slow)
                finally:
                    self._slow.execute("COMMIT")

        return await asyncio.get_running_loop().run_in_executor(self._slow_pool, run)

    def one(self, sql: str, *values: Any) -> Row | None:
        with in_our_words():
            row: Row | None = self._read.execute(sql, values).fetchone()
            return row

    def all(self, sql: str, *values: Any) -> list[Row]:
        with in_our_words():
            rows: list[Row] = self._read.execute(sql, values).fetchall()
            return rows

    def empty(self) -> bool:
        return self.one("SELECT 1 FROM user LIMIT 1") is None

    def user(self, user_id: str) -> User:
        row = self.one("SELECT * FROM user WHERE id = ?", user_id)
        if row is None:
            raise NotFound
        return user_of(row)

    def with_name(self, username: str) -> Row | None:
        return self.one("SELECT * FROM user WHERE folded = ?", fold(username))

    def users(self, limit: int, after: str | None) -> list[User]:
        rows = self.all("SELECT * FROM user WHERE (?1 IS NULL OR id > ?1) ORDER BY id LIMIT ?2", after, limit)
        return [user_of(row) for row in rows]

    async def add_user(self, user_id: str, username: str, password_hash: str, *, may_join: bool) -> User:
        """The first user becomes admin, decided in the transaction. Raises AlreadyExists; NotFound when closed."""

        def add(db: Any) -> User:
            first = db.execute("SELECT 1 FROM user LIMIT 1").fetchone() is None
            if not first and not may_join:
                raise NotFound("Registration is closed; ask an administrator for an account.")
            if db.execute("SELECT 1 FROM user WHERE folded = ?", (fold(username),)).fetchone():
                raise AlreadyExists("That user name is already taken.")
            db.execute(
                "INSERT INTO user (id, username, folded, password_hash, role) VALUES (?, ?, ?, ?, ?)",
                (user_id, username, fold(username), password_hash, "admin" if first else "user"),
            )
            return user_of(db.execute("SELECT * FROM user WHERE id = ?", (user_id,)).fetchone())

        return await self.change(add)

    async def set_user(self, user_id: str, changes: Mapping[str, Any]) -> User:
        """Role or disabled; a change of either ends the user's sessions. Raises NotFound."""

        def change(db: Any) -> User:
            for name, value in changes.items():
                db.execute(f"UPDATE user SET {name} = ? WHERE id = ?", (value, user_id))  # noqa: S608 - our names
            row = db.execute("SELECT * FROM user WHERE id = ?", (user_id,)).fetchone()
            if row is None:
                raise NotFound
            db.execute("DELETE FROM session WHERE user_id = ?", (user_id,))
            return user_of(row)

        return await self.change(change)

    async def set_password(self, user_id: str, password_hash: str, keep_session: str | None) -> None:
        """Every other session ends."""

        def change(db: Any) -> None:
            db.execute("UPDATE user SET password_hash = ? WHERE id = ?", (password_hash, user_id))
            db.execute(
                "DELETE FROM session WHERE user_id = ?1 AND (?2 IS NULL OR session_id <> ?2)", (user_id, keep_session)
            )

        await self.change(change)

    async def delete_user(self, user_id: str) -> None:
        await self.change(lambda db: db.execute("DELETE FROM user WHERE id = ?", (user_id,)))

    def admins(self) -> int:
        row = self.one("SELECT count(*) AS n FROM user WHERE role = 'admin' AND disabled = 0")
        return int(row["n"]) if row else 0

    def live_session(self, session_id: str, user_id: str, now: float) -> Row | None:
        """The session joined with its user, where both are good."""
        return self.one(
            "SELECT user.*, session.expires_at FROM session JOIN user ON user.id = session.user_id"
            " WHERE session_id = ? AND user_id = ? AND disabled = 0 AND expires_at > ?",
            session_id,
            user_id,
            now,
        )

    async def add_session(self, session_id: str, user_id: str, now: float, expires_at: float, device: str) -> None:
        await self.change(
            lambda db: db.execute(
                "INSERT INTO session (session_id, user_id, rotated_at, expires_at, created_at, device)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (session_id, user_id, now, expires_at, now, device),
            )
        )

    def sessions(self, user_id: str, now: float, current: str | None) -> list[Session]:
        """Those that live, the last used first."""
        rows = self.all(
            "SELECT * FROM session WHERE user_id = ? AND expires_at > ? ORDER BY rotated_at DESC, session_id",
            user_id,
            now,
        )
        return [session_of(row, current) for row in rows]

    async def end_own_session(self, user_id: str, session_id: str) -> None:
        """Raises NotFound, also for another user's."""

        def end(db: Any) -> None:
            cursor = db.execute("DELETE FROM session WHERE session_id = ? AND user_id = ?", (session_id, user_id))
            if cursor.rowcount == 0:
                raise NotFound

        await self.change(end)

    async def end_session(self, session_id: str) -> None:
        await self.change(lambda db: db.execute("DELETE FROM session WHERE session_id = ?", (session_id,)))

    def token(self, token_id: str) -> Row | None:
        return self.one(
            "SELECT access_token.*, user.role, user.disabled FROM access_token JOIN user ON user.id = user_id"
            " WHERE access_token.id = ?",
            token_id,
        )

    def tokens(self, user_id: str) -> list[AccessToken]:
        rows = self.all("SELECT * FROM access_token WHERE user_id = ? ORDER BY id", user_id)
        return [AccessToken.model_validate(dict(row) | {"scopes": row["scopes"].split()}) for row in rows]

    async def delete_token(self, user_id: str, token_id: str) -> None:
        def delete(db: Any) -> None:
            cursor = db.execute("DELETE FROM access_token WHERE id = ? AND user_id = ?", (token_id, user_id))
            if cursor.rowcount == 0:
                raise NotFound

        await self.change(delete)

    def close(self) -> None:
        self._pool.shutdown()
        self._slow_pool.shutdown()
        self._slow.close()
        self._read.close()
        self._write.close()
