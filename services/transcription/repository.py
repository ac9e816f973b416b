"""Recordings in PostgreSQL: ids and states in the clear, everything a user wrote or said sealed under their key."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

from shared.crypto.envelope import seal, unseal
from shared.errors import Conflict, NotFound
from shared.schemas.ids import id_pattern
from shared.schemas.transcription import Transcript
from shared.storage.blobs import BlobInfo
from shared.storage.keyring import Keyring
from shared.storage.postgres import Pool, in_our_words

DELETING = "deleting"
MOST_CHANNELS = 255
_ID = re.compile(id_pattern("rec"))


@dataclass(frozen=True)
class Recording:
    """One upload and how far it is."""

    recording_id: str
    owner: str
    status: str
    job_id: str | None
    options: dict[str, Any]
    """What the user said of it: title, context, file name, language, switches."""
    size_bytes: int
    duration_s: float | None
    channels: int | None
    error: str | None
    error_code: str | None
    created_at: datetime
    family: str | None = None
    """`call` where it came by the call-centre routes."""


@dataclass(frozen=True)
class Backlog:
    """What waits or is being worked on, and what is kept."""

    recordings: int
    seconds: float
    stored_bytes: int


_DENSE = 16_000
"""Bytes per second (128 kbit/s) of a file of unknown length, where no length is known yet."""
_BACKLOG = f"""
WITH dense AS (
    SELECT coalesce(sum(size_bytes) / nullif(sum(duration_s), 0), {_DENSE}) AS per_s
    FROM recording WHERE duration_s IS NOT NULL AND size_bytes > 0
)
SELECT count(*) FILTER (WHERE waits) AS waiting,
    coalesce(sum(coalesce(duration_s, size_bytes / per_s)) FILTER (WHERE waits), 0) AS seconds,
    coalesce(sum(size_bytes) FILTER (WHERE status <> 'deleting'), 0) AS stored
FROM (SELECT *, status IN ('queued', 'processing') AS waits FROM recording) AS each, dense
"""  # noqa: S608 - a number of ours


class Recordings:
    """Every read is scoped by owner."""

    def __init__(self, pool: Pool, keyring: Keyring) -> None:
        self._pool = pool
        self._keyring = keyring

    async def add(
        self,
        recording_id: str,
        owner: str,
        options: Mapping[str, Any],
        *,
        size_bytes: int,
        sha256: str,
        status: str = "queued",
        family: str | None = None,
        upload_id: str | None = None,
    ) -> None:
        """`upload_id`: the upload in pieces that it is made of, finished in the same transaction."""
        key = await self._keyring.data_key(owner)
        sealed = seal(key, json.dumps(dict(options)).encode(), recording_id.encode())
        with in_our_words():
            async with self._pool.acquire() as connection, connection.transaction():
                await connection.execute(
                    "INSERT INTO recording (recording_id, owner, sealed, size_bytes, sha256, status, family, heard_at)"
                    " VALUES ($1, $2, $3, $4, $5, $6, $7, now())",
                    recording_id,
                    owner,
                    sealed,
                    size_bytes,
                    sha256,
                    status,
                    family,
                )
                if upload_id is not None:
                    await connection.execute(
                        "UPDATE partial_upload SET finished_at = now() WHERE upload_id = $1", upload_id
                    )

    async def put_finished(
        self, transcript: Transcript, owner: str, options: Mapping[str, Any], info: BlobInfo
    ) -> None:
        """The row of a recording whose text is in the vault and whose sound came back. Raises Conflict.

        Another row of that id stays as it is: of another owner, or of one that is being deleted.
        """
        key = await self._keyring.data_key(owner)
        sealed = seal(key, json.dumps(dict(options)).encode(), transcript.transcript_id.encode())
        made = transcript.created_at  # of an archive, which anybody may have written
        made = made if made.tzinfo is not None else made.replace(tzinfo=UTC)
        with in_our_words():
            found = await self._pool.fetchval(
                "INSERT INTO recording (recording_id, owner, sealed, size_bytes, sha256, status, duration_s, channels,"
                " created_at, finished_at) VALUES ($1, $2, $3, $4, $5, 'completed', $6, $7, $8, now())"
                " ON CONFLICT (recording_id) DO UPDATE SET size_bytes = $4, sha256 = $5"
                " WHERE recording.owner = $2 AND recording.status = 'completed' RETURNING recording_id",
                transcript.transcript_id,
                owner,
                sealed,
                info.size_bytes,
                info.sha256,
                transcript.duration_s,
                min(transcript.channels or 1, MOST_CHANNELS),
                made,
            )
        if found is None:
            raise Conflict("A recording of this id is here already.")

    async def older(self, owner: str, before: datetime, after: str, limit: int) -> list[str]:
        """Ids of an owner's recordings that were made before a moment, those behind an id."""
        with in_our_words():
            rows = await self._pool.fetch(
                "SELECT recording_id FROM recording WHERE owner = $1 AND created_at < $2 AND recording_id > $3"
                " AND status <> 'deleting' ORDER BY recording_id LIMIT $4",
                owner,
                before,
                after,
                limit,
            )
        return [row["recording_id"] for row in rows]

    async def get(self, recording_id: str, owner: str) -> Recording:
        """Raises NotFound, also for another owner's and for one that is being deleted."""
        row = await self._row(recording_id, owner)
        if row is None or row["status"] == DELETING:
            raise NotFound
        return await self._opened(row)

    async def status(self, recording_id: str, owner: str) -> str:
        """Its state alone, for those who ask often. Raises NotFound."""
        with in_our_words():
            found = await self._pool.fetchval(
                "SELECT status FROM recording WHERE recording_id = $1 AND owner = $2", recording_id, owner
            )
        if found is None or found == DELETING:
            raise NotFound
        return str(found)

    async def _row(self, recording_id: str, owner: str) -> Any:
        if not _ID.match(recording_id):
            return None
        with in_our_words():
            return await self._pool.fetchrow(
                "SELECT * FROM recording WHERE recording_id = $1 AND owner = $2", recording_id, owner
            )

    async def unfinished(self, owner: str, limit: int, before: str | None) -> list[Recording]:
        """Those that are not in the vault (yet), newest first."""
        with in_our_words():
            rows = await self._pool.fetch(
                "SELECT * FROM recording WHERE owner = $1 AND status NOT IN ('completed', 'deleting')"
                " AND ($2::text IS NULL OR recording_id < $2) ORDER BY recording_id DESC LIMIT $3",
                owner,
                before,
                limit,
            )
        return [await self._opened(row) for row in rows]

    async def of_family(
        self, owner: str, family: str, *, limit: int, offset: int, status: str | None
    ) -> list[Recording]:
        """Newest first."""
        with in_our_words():
            rows = await self._pool.fetch(
                "SELECT * FROM recording WHERE owner = $1 AND family = $2 AND status <> 'deleting'"
                " AND ($3::text IS NULL OR status = $3) ORDER BY recording_id DESC LIMIT $4 OFFSET $5",
                owner,
                family,
                status,
                limit,
                offset,
            )
        return [await self._opened(row) for row in rows]

    async def without_job(self, older_than_s: float) -> list[tuple[str, str]]:
        """(recording id, owner) of uploads whose task was never submitted: the service died in between."""
        with in_our_words():
            rows = await self._pool.fetch(
                "SELECT recording_id, owner FROM recording WHERE job_id IS NULL AND status = 'queued'"
                " AND created_at < now() - make_interval(secs => $1) LIMIT 100",
                older_than_s,
            )
        return [(row["recording_id"], row["owner"]) for row in rows]

    async def backlog(self) -> Backlog:
        """Over all users. A file that nobody has decoded yet is taken to be as dense as those of known length."""
        with in_our_words():
            [row] = await self._pool.fetch(_BACKLOG)
        return Backlog(int(row["waiting"]), float(row["seconds"]), int(row["stored"]))

    async def touch(self, recording: Recording, every_s: float) -> bool:
        """Sound came for a live recording; written down every so often. False where it is not live any more."""
        with in_our_words():
            status = await self._pool.fetchval(
                "WITH noted AS (UPDATE recording SET heard_at = now() WHERE recording_id = $1 AND status = 'live'"
                " AND heard_at <= now() - make_interval(secs => $2))"
                " SELECT status FROM recording WHERE recording_id = $1",
                recording.recording_id,
                every_s,
            )
        return bool(status == "live")

    async def silent(self, longer_than_s: float) -> list[tuple[str, str]]:
        """(recording id, owner) of live recordings for which no sound came for so long."""
        with in_our_words():
            rows = await self._pool.fetch(
                "SELECT recording_id, owner FROM recording WHERE status = 'live'"
                " AND heard_at < now() - make_interval(secs => $1) LIMIT 100",
                longer_than_s,
            )
        return [(row["recording_id"], row["owner"]) for row in rows]

    async def set_stored(self, recording_id: str, size_bytes: int, sha256: str) -> bool:
        """A live recording is a file like any other now. False where it was deleted meanwhile."""
        with in_our_words():
            stored = await self._pool.fetchval(
                "UPDATE recording SET status = 'queued', size_bytes = $2, sha256 = $3"
                " WHERE recording_id = $1 AND status = 'live' RETURNING recording_id",
                recording_id,
                size_bytes,
                sha256,
            )
        return stored is not None

    async def set_job(self, recording_id: str, job_id: str) -> None:
        await self._execute("UPDATE recording SET job_id = $2 WHERE recording_id = $1", recording_id, job_id)

    async def set_begun(self, recording_id: str) -> None:
        await self._execute(
            "UPDATE recording SET status = 'processing', error = NULL, error_code = NULL"
            " WHERE recording_id = $1 AND status NOT IN ('deleting', 'completed')",
            recording_id,
        )

    async def set_facts(self, recording_id: str, duration_s: float, channels: int) -> None:
        await self._execute(
            "UPDATE recording SET duration_s = $2, channels = $3 WHERE recording_id = $1",
            recording_id,
            duration_s,
            channels,
        )

    async def set_status(
        self, recording_id: str, status: str, error: str | None = None, error_code: str | None = None
    ) -> None:
        await self._execute(
            "UPDATE recording SET status = $2, error = $3, error_code = $4, finished_at = now()"
            " WHERE recording_id = $1 AND status <> 'deleting' AND ($2 = 'completed' OR status <> 'completed')",
            recording_id,
            status,
            error,
            error_code,
        )

    async def set_deleting(self, recording_id: str, owner: str) -> None:
        """From now on nobody finds it and no stage can save; what the user wrote of it and its parts are gone."""
        with in_our_words():
            async with self._pool.acquire() as connection, connection.transaction():
                await connection.execute(
                    "UPDATE recording SET status = 'deleting', sealed = '', finished_at = now()"
                    " WHERE recording_id = $1 AND owner = $2",
                    recording_id,
                    owner,
                )
                await connection.execute("DELETE FROM recording_part WHERE recording_id = $1", recording_id)
                await connection.execute("DELETE FROM recording_peaks WHERE recording_id = $1", recording_id)

    async def set_all_deleting(self, owner: str) -> list[tuple[str, str | None, str]]:
        """`set_deleting` for all of an owner's; ids, jobs, and the states that they were in."""
        with in_our_words():
            async with self._pool.acquire() as connection, connection.transaction():
                rows = await connection.fetch(
                    "SELECT recording_id, job_id, status FROM recording WHERE owner = $1 FOR UPDATE", owner
                )
                await connection.execute(
                    "UPDATE recording SET status = 'deleting', sealed = '', finished_at = now()"
                    " WHERE owner = $1 AND status <> 'deleting'",
                    owner,
                )
                await connection.execute(
                    "DELETE FROM recording_part WHERE recording_id IN"
                    " (SELECT recording_id FROM recording WHERE owner = $1)",
                    owner,
                )
        return [(row["recording_id"], row["job_id"], row["status"]) for row in rows]

    async def is_deleting(self, recording_id: str, owner: str) -> bool:
        row = await self._row(recording_id, owner)
        return row is not None and row["status"] == DELETING

    async def deleting(self, older_than_s: float) -> list[tuple[str, str]]:
        """(recording id, owner) of deletions that no worker can disturb any more."""
        with in_our_words():
            rows = await self._pool.fetch(
                "SELECT recording_id, owner FROM recording WHERE status = 'deleting'"
                " AND finished_at < now() - make_interval(secs => $1) LIMIT 100",
                older_than_s,
            )
        return [(row["recording_id"], row["owner"]) for row in rows]

    async def set_options(self, recording: Recording, options: Mapping[str, Any]) -> None:
        key = await self._keyring.data_key(recording.owner)
        sealed = seal(key, json.dumps(dict(options)).encode(), recording.recording_id.encode())
        await self._execute(
            "UPDATE recording SET sealed = $2 WHERE recording_id = $1 AND status <> 'deleting'",
            recording.recording_id,
            sealed,
        )

    async def put_part(self, recording: Recording, stage: str, part: int, value: Any) -> None:
        """What a stage made, also for a vault that was locked meanwhile; the same part again replaces it."""
        name = f"{recording.recording_id}/{stage}/{part}".encode()
        sealed = await self._keyring.keep(recording.owner, json.dumps(value).encode(), name)
        await self._execute(
            "INSERT INTO recording_part SELECT $1, $2, $3, $4"
            " WHERE EXISTS (SELECT 1 FROM recording WHERE recording_id = $1 AND status <> 'deleting' FOR SHARE)"
            " ON CONFLICT (recording_id, stage, part) DO UPDATE SET sealed = excluded.sealed",
            recording.recording_id,
            stage,
            part,
            sealed,
        )

    async def parts(self, recording: Recording, stage: str) -> dict[int, Any]:
        key = await self._keyring.user_key(recording.owner)
        with in_our_words():
            rows = await self._pool.fetch(
                "SELECT part, sealed FROM recording_part WHERE recording_id = $1 AND stage = $2 ORDER BY part",
                recording.recording_id,
                stage,
            )
        name = f"{recording.recording_id}/{stage}"
        return {row["part"]: json.loads(key.open(row["sealed"], f"{name}/{row['part']}".encode())) for row in rows}

    async def put_peaks(self, recording_id: str, owner: str, packed: bytes) -> None:
        """The waveform, also for a vault that was locked meanwhile; nothing is kept of what is being deleted."""
        sealed = await self._keyring.keep(owner, packed, f"{recording_id}/peaks".encode())
        await self._execute(
            "INSERT INTO recording_peaks SELECT $1, $3 WHERE EXISTS (SELECT 1 FROM recording"
            " WHERE recording_id = $1 AND owner = $2 AND status <> 'deleting' FOR SHARE)"
            " ON CONFLICT (recording_id) DO UPDATE SET sealed = excluded.sealed",
            recording_id,
            owner,
            sealed,
        )

    async def peaks(self, recording_id: str, owner: str) -> bytes | None:
        """Packed; None where nobody made them yet. Raises NotFound, VaultLocked."""
        await self.status(recording_id, owner)
        key = await self._keyring.user_key(owner)
        with in_our_words():
            sealed = await self._pool.fetchval(
                "SELECT sealed FROM recording_peaks WHERE recording_id = $1", recording_id
            )
        return None if sealed is None else key.open(sealed, f"{recording_id}/peaks".encode())

    async def waiting(self, owner: str) -> int:
        """Recordings that go on once the vault is unlocked; none while it is."""
        if not await self._keyring.locked(owner):
            return 0
        with in_our_words():
            found = await self._pool.fetchval(
                "SELECT count(*) FROM recording WHERE owner = $1 AND status IN ('queued', 'processing', 'live')", owner
            )
        return int(found)

    async def drop_parts(self, recording_id: str) -> None:
        await self._execute("DELETE FROM recording_part WHERE recording_id = $1", recording_id)

    async def delete(self, recording_id: str, owner: str) -> None:
        await self._execute("DELETE FROM recording WHERE recording_id = $1 AND owner = $2", recording_id, owner)

    async def delete_owner(self, owner: str) -> None:
        await self._execute("DELETE FROM recording WHERE owner = $1", owner)

    async def _execute(self, sql: str, *values: Any) -> None:
        with in_our_words():
            await self._pool.execute(sql, *values)

    async def _opened(self, row: Mapping[str, Any]) -> Recording:
        key = await self._keyring.data_key(row["owner"])
        options = json.loads(unseal(key, row["sealed"], row["recording_id"].encode()))
        names = [each.name for each in fields(Recording) if each.name != "options"]
        return Recording(**{name: row[name] for name in names}, options=options)
