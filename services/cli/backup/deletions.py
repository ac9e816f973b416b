"""A deletion outlives a restore: what was deleted after the backup was made is deleted again (SECURITY, check 20).

Rows and files that need no key go at once. What lies inside vaults is left as a list to the memory service, which does
it before it answers anybody; in a sealed vault at its next unlocking.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import asyncpg

from services.cli.backup import Refused
from shared.settings import require_secret
from shared.storage import deletions
from shared.storage.deletions import AGAIN

FOLDER = "deletions"


async def again(archived: dict[str, int], old: Path, staging: Path, url: str) -> int:
    """How many. `archived`: how many lines each user's file had when the backup began."""
    folder, count = staging / FOLDER, 0
    names = {path.name for root in (folder, old / FOLDER) if root.is_dir() for path in root.iterdir()}
    connection = await asyncpg.connect(url, timeout=10)
    try:
        for user_id in sorted(name for name in names if not name.endswith(AGAIN)):
            in_archive = deletions.lines(folder / user_id)
            since = [line for line in deletions.lines(old / FOLDER / user_id) if line not in set(in_archive)]
            todo = in_archive[archived.get(user_id, 0) :] + since
            if since:
                deletions.append(folder / user_id, since)
            if todo:
                await _done_again(connection, staging, user_id, todo)
                deletions.append(folder / f"{user_id}{AGAIN}", todo)
            count += len(todo)
    finally:
        await connection.close()
    return count


async def _done_again(connection: Any, staging: Path, user_id: str, todo: list[str]) -> None:
    for kind, _, key in (line.partition(" ") for line in todo):
        if kind == "transcript":
            await connection.execute("DELETE FROM recording WHERE owner = $1 AND recording_id = $2", user_id, key)
            for path in (staging / "blobs" / user_id).glob(f"{key}*"):
                path.unlink()
            (staging / "vaults" / f"{user_id}.outbox" / f"transcript-{key}").unlink(missing_ok=True)
        elif kind == "speaker":
            await connection.execute("DELETE FROM speaker WHERE owner = $1 AND speaker_id = $2", user_id, key)
        elif kind == "vault":
            await _sound(connection, staging, user_id)
        elif kind == "account":
            await _account(connection, staging, user_id)


async def _sound(connection: Any, staging: Path, user_id: str) -> None:
    """All of it, and the voices; texts go where the vault can be opened."""
    for table in ("recording", "speaker", "naming"):
        await connection.execute(f"DELETE FROM {table} WHERE owner = $1", user_id)
    shutil.rmtree(staging / "blobs" / user_id, ignore_errors=True)


async def _account(connection: Any, staging: Path, user_id: str) -> None:
    """As the gateway does it: the key first."""
    from pydantic import SecretStr

    from services.cli.backup.vaults import users_key
    from shared.storage import sqlcipher

    await connection.execute(
        "UPDATE user_key SET wrapped = NULL, by_password = NULL, by_next_password = NULL, by_code = NULL,"
        " private_key = NULL, public_key = NULL, destroyed_at = now() WHERE user_id = $1",
        user_id,
    )
    await _sound(connection, staging, user_id)
    for path in (staging / "vaults").glob(f"{user_id}.*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.rmtree(staging / "documents" / user_id, ignore_errors=True)
    path = staging / "secrets" / "users_db_key"
    if not path.is_file():
        raise Refused("The archive has no users_db_key, so an account that was deleted since cannot be deleted again.")
    key = users_key(require_secret("USERS_DB_KEY", SecretStr(path.read_text(encoding="utf-8").strip())))
    database = sqlcipher.connect(staging / "users.db", key)
    try:
        database.execute("DELETE FROM user WHERE id = ?", (user_id,))
    finally:
        database.close()
