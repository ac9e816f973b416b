"""Speakers and voices in PostgreSQL: ids in the clear, names and voices sealed under their owner's key."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.crypto.envelope import seal, unseal
from shared.errors import AlreadyExists, NotFound, PreconditionFailed
from shared.schemas.ids import new_id
from shared.storage.keyring import Keyring
from shared.storage.postgres import Pool, in_our_words

Sealed = dict[str, Any]
MOST_NAMINGS = 100
"""Of one user that can be taken back; older ones are forgotten."""


@dataclass(frozen=True)
class Person:
    """Somebody whom a user named."""

    speaker_id: str
    name: str
    revision: int
    created_at: datetime
    updated_at: datetime
    prints: dict[str, Sealed]
    """Samples of the voice by their id, as `voices.plain` makes them."""


class Speakers:
    """Every query is scoped by owner."""

    def __init__(self, pool: Pool, keyring: Keyring) -> None:
        self._pool, self._keyring = pool, keyring

    async def all(self, owner: str) -> list[Person]:
        """In the order of their ids, with all samples."""
        key = await self._keyring.data_key(owner)
        with in_our_words():
            rows = await self._pool.fetch("SELECT * FROM speaker WHERE owner = $1 ORDER BY speaker_id", owner)
            prints = await self._pool.fetch("SELECT * FROM voiceprint WHERE owner = $1 ORDER BY print_id", owner)
        of: dict[str, dict[str, Sealed]] = {}
        for each in prints:
            of.setdefault(each["speaker_id"], {})[each["print_id"]] = _opened(key, each, owner, each["print_id"])
        return [_person(key, row, of.get(row["speaker_id"], {})) for row in rows]

    async def get(self, owner: str, speaker_id: str) -> Person:
        """Raises NotFound."""
        for person in await self.all(owner):
            if person.speaker_id == speaker_id:
                return person
        raise NotFound

    async def add(self, owner: str, speaker_id: str, name: str) -> None:
        """Raises AlreadyExists."""
        sealed = await self._sealed(owner, speaker_id, {"name": name})
        try:
            with in_our_words():
                await self._pool.execute(
                    "INSERT INTO speaker (owner, speaker_id, sealed) VALUES ($1, $2, $3)", owner, speaker_id, sealed
                )
        except AlreadyExists as error:
            raise AlreadyExists(f"There is a speaker {speaker_id!r} already.") from error

    async def rename(self, owner: str, speaker_id: str, name: str, expected: int | None) -> None:
        """Raises NotFound, PreconditionFailed."""
        sealed = await self._sealed(owner, speaker_id, {"name": name})
        with in_our_words():
            changed = await self._pool.fetchval(
                "UPDATE speaker SET sealed = $3, revision = revision + 1, updated_at = now() WHERE owner = $1"
                " AND speaker_id = $2 AND ($4::int IS NULL OR revision = $4) RETURNING revision",
                owner, speaker_id, sealed, expected,
            )  # fmt: skip
        if changed is None:
            await self.get(owner, speaker_id)
            raise PreconditionFailed

    async def delete(self, owner: str, speaker_id: str, expected: int | None) -> None:
        """With all samples of the voice. Raises NotFound, PreconditionFailed, VaultLocked."""
        await self._keyring.data_key(owner)
        with in_our_words():
            gone = await self._pool.fetchval(
                "DELETE FROM speaker WHERE owner = $1 AND speaker_id = $2 AND ($3::int IS NULL OR revision = $3)"
                " RETURNING speaker_id",
                owner, speaker_id, expected,
            )  # fmt: skip
        if gone is None:
            await self.get(owner, speaker_id)
            raise PreconditionFailed

    async def add_print(self, owner: str, speaker_id: str, value: Sealed) -> str:
        """A sample of the voice; its id. Raises NotFound where the speaker was deleted meanwhile."""
        print_id = new_id("vpr")
        await self.restore_print(owner, speaker_id, print_id, value)
        return print_id

    async def restore_print(self, owner: str, speaker_id: str, print_id: str, value: Sealed) -> None:
        """One that was deleted, under the id that it had; as often as wanted. Raises NotFound as `add_print` does."""
        sealed = await self._sealed(owner, print_id, value)
        with in_our_words():
            added = await self._pool.fetchval(
                "WITH held AS (UPDATE speaker SET updated_at = now(), revision = revision + 1"
                " WHERE owner = $2 AND speaker_id = $3 RETURNING owner, speaker_id)"
                " INSERT INTO voiceprint (print_id, owner, speaker_id, sealed)"
                " SELECT $1, owner, speaker_id, $4 FROM held"
                " ON CONFLICT (print_id) DO UPDATE SET sealed = excluded.sealed"
                " WHERE voiceprint.owner = excluded.owner"
                " RETURNING print_id",
                print_id, owner, speaker_id, sealed,
            )  # fmt: skip
        if added is None:
            raise NotFound

    async def delete_prints(self, owner: str, print_ids: list[str]) -> None:
        with in_our_words():
            await self._pool.execute("DELETE FROM voiceprint WHERE owner = $1 AND print_id = ANY($2)", owner, print_ids)

    # -- how the labels of recordings sound

    async def keep_voices(self, owner: str, recording_id: str, voices: Mapping[str, Sealed]) -> None:
        """All labels of a recording; an earlier set goes."""
        rows = [
            (recording_id, label, owner, await self._sealed(owner, f"{recording_id}/{label}", value))
            for label, value in voices.items()
        ]
        with in_our_words():
            async with self._pool.acquire() as connection, connection.transaction():
                await connection.execute(
                    "DELETE FROM recording_voice WHERE recording_id = $1 AND owner = $2", recording_id, owner
                )
                await connection.executemany(
                    "INSERT INTO recording_voice (recording_id, label, owner, sealed) SELECT $1, $2, $3, $4"
                    " WHERE EXISTS (SELECT 1 FROM recording"
                    " WHERE recording_id = $1 AND status <> 'deleting' FOR SHARE)",
                    rows,
                )

    async def voices(self, owner: str, recording_id: str) -> dict[str, Sealed]:
        """By label."""
        return {label: value for _, label, value in await self._voices("recording_id = $2", owner, recording_id)}

    async def other_voices(self, owner: str, recording_id: str, limit: int) -> list[tuple[str, str, Sealed]]:
        """(recording id, label, voice) of all other recordings, newest first."""
        return await self._voices("recording_id <> $2 ORDER BY recording_id DESC LIMIT $3", owner, recording_id, limit)

    async def _voices(self, where: str, owner: str, *values: Any) -> list[tuple[str, str, Sealed]]:
        key = await self._keyring.data_key(owner)
        with in_our_words():
            rows = await self._pool.fetch(
                f"SELECT * FROM recording_voice WHERE owner = $1 AND {where}",  # noqa: S608 - our own words only
                owner,
                *values,
            )
        return [
            (row["recording_id"], row["label"], _opened(key, row, owner, f"{row['recording_id']}/{row['label']}"))
            for row in rows
        ]

    # -- taking back

    async def add_naming(self, owner: str, value: Sealed) -> str:
        undo_id = new_id("und")
        sealed = await self._sealed(owner, undo_id, value)
        with in_our_words():
            await self._pool.execute(
                "INSERT INTO naming (undo_id, owner, sealed) VALUES ($1, $2, $3)", undo_id, owner, sealed
            )
            await self._pool.execute(
                "DELETE FROM naming WHERE owner = $1 AND undo_id NOT IN"
                " (SELECT undo_id FROM naming WHERE owner = $1 ORDER BY undo_id DESC LIMIT $2)",
                owner, MOST_NAMINGS,
            )  # fmt: skip
        return undo_id

    async def naming(self, owner: str, undo_id: str) -> Sealed:
        """What it changed. Raises NotFound."""
        key = await self._keyring.data_key(owner)
        with in_our_words():
            row = await self._pool.fetchrow("SELECT * FROM naming WHERE owner = $1 AND undo_id = $2", owner, undo_id)
        if row is None:
            raise NotFound
        return _opened(key, row, owner, undo_id)

    async def delete_naming(self, owner: str, undo_id: str) -> None:
        with in_our_words():
            await self._pool.execute("DELETE FROM naming WHERE owner = $1 AND undo_id = $2", owner, undo_id)

    async def delete_owner(self, owner: str) -> None:
        with in_our_words():
            for table in ("speaker", "recording_voice", "naming"):
                await self._pool.execute(f"DELETE FROM {table} WHERE owner = $1", owner)  # noqa: S608

    async def _sealed(self, owner: str, name: str, value: Sealed) -> bytes:
        key = await self._keyring.data_key(owner)
        return seal(key, json.dumps(value).encode(), f"{owner}/{name}".encode())


def _opened(key: bytes, row: Any, owner: str, name: str) -> Sealed:
    found: Sealed = json.loads(unseal(key, row["sealed"], f"{owner}/{name}".encode()))
    return found


def _person(key: bytes, row: Any, prints: dict[str, Sealed]) -> Person:
    name = _opened(key, row, row["owner"], row["speaker_id"])["name"]
    return Person(
        row["speaker_id"], name, row["revision"], row["created_at"], row["updated_at"], prints
    )  # fmt: skip
