"""Uploads that come in pieces, over days and restarts if need be.

The bytes go to an encrypted journal, and what an answer acknowledges is on the disk. A whole upload becomes a recording
in the same transaction that marks it as finished, so a crash at any point neither loses it nor makes it twice, and a
recording that was deleted is never made again.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from starlette.requests import ClientDisconnect

from services.transcription.service import Studio
from services.transcription.settings import Settings
from shared.auth.principal import Principal
from shared.crypto.envelope import seal, unseal
from shared.errors import (
    AudioUnreadable,
    BadRequest,
    Conflict,
    NotFound,
    OffsetConflict,
    ProductError,
    StillRunning,
    TooLarge,
)
from shared.lifecycle import News
from shared.schemas.ids import new_id
from shared.schemas.uploads import NewPartialUpload, PartialUpload
from shared.storage.journal import Journal, Journals
from shared.storage.keyring import Keyring
from shared.storage.postgres import Pool, in_our_words

log = logging.getLogger(__name__)
PIECE_BYTES = 4 * 1024**2
"""Written and made durable at once."""
PATIENCE_S = 1.0
"""How long who comes second waits, in seconds: a question is answered by then, a piece perhaps not."""
IDLE_S = 20.0
"""A piece that stalls for so long is given up, so that a client whose network changed may go on by another way."""
TIDY_S = 300.0
_CREATING = 1970
"""First half of the locks under which a user's open uploads are counted."""


@dataclass(frozen=True)
class Incoming:
    """One row."""

    upload_id: str
    owner: str
    recording_id: str
    length_bytes: int
    expires_at: datetime
    finished_at: datetime | None
    values: dict[str, Any]
    """The options of the recording."""
    metadata: str


class PartialUploads:
    """Of all users; every query is scoped by owner."""

    def __init__(self, settings: Settings, pool: Pool, keyring: Keyring, journals: Journals, studio: Studio) -> None:
        self._settings, self._pool, self._keyring = settings, pool, keyring
        self._journals, self._studio = journals, studio
        self._busy: dict[str, Journal | None] = {}
        """Uploads that somebody is at, with the journal that they write."""
        self._news = News()
        """That somebody came to one or left it."""

    # -- what clients ask for

    async def create(self, user: Principal, new: NewPartialUpload) -> PartialUpload:
        """Raises TooLarge, Conflict where too many are open, and Invalid for what is said of the recording."""
        key = await self._keyring.data_key(user.user_id)
        self._check_length(new.length_bytes)
        values = self._studio.described(new.fields, new.filename, new.content_type)
        upload_id = new_id("upl")
        body = json.dumps({"values": values, "metadata": new.metadata}).encode()
        sealed = seal(key, body, upload_id.encode())
        with in_our_words():
            async with self._pool.acquire() as connection, connection.transaction():
                await connection.execute("SELECT pg_advisory_xact_lock($1, hashtext($2))", _CREATING, user.user_id)
                made = await connection.fetchval(
                    "INSERT INTO partial_upload (upload_id, owner, recording_id, sealed, length_bytes, expires_at)"
                    " SELECT $1, $2, $3, $4, $5, now() + make_interval(secs => $6) WHERE"
                    " (SELECT count(*) FROM partial_upload WHERE owner = $2 AND finished_at IS NULL"
                    "  AND expires_at > now()) < $7 RETURNING upload_id",
                    upload_id, user.user_id, new_id("rec"), sealed, new.length_bytes,
                    self._settings.partial_upload_s, self._settings.partial_uploads,
                )  # fmt: skip
        if made is None:
            raise Conflict(
                f"You have {self._settings.partial_uploads} unfinished uploads; finish or delete one of them first."
            )
        return await self.state(user, upload_id)

    def _check_length(self, length: int) -> None:
        most = self._settings.max_upload_bytes
        if length > most:
            raise TooLarge(
                f"The file has {length} bytes; the limit is {most}. Send it in parts, or in a format that takes less"
                " room, such as Opus or FLAC."
            )
        if length == 0:
            raise AudioUnreadable("The file is empty.")

    async def state(self, user: Principal, upload_id: str) -> PartialUpload:
        """How far it is. One that is whole, but whose recording a crash kept from being made, is finished now."""
        upload = await self._get(user, upload_id)
        while upload_id in self._busy:  # what a piece that is just coming has brought so far
            coming = self._busy[upload_id]
            if coming is not None:
                return _state(upload, coming.size_bytes)
            await self._news.heard()
        async with self._alone(upload_id):
            upload = await self._get(user, upload_id)
            if upload.finished_at is not None:
                return await self._finished(user, upload)
            async with self._journal(upload) as journal:
                return await self._settled(user, upload, journal)

    async def append(self, user: Principal, upload_id: str, offset: int, chunks: AsyncIterator[bytes]) -> PartialUpload:
        """What came is durable when it returns, and also when it raises because the rest did not come.

        Raises OffsetConflict, StillRunning, TooLarge, NotFound.
        """
        await self._get(user, upload_id)
        async with self._alone(upload_id):
            upload = await self._get(user, upload_id)  # as whoever was at it before has left it
            if upload.finished_at is not None:
                _require_offset(offset, upload.length_bytes)
                return await self._finished(user, upload)
            async with self._journal(upload) as journal:
                _require_offset(offset, journal.size_bytes)
                whole = await self._take(journal, upload, chunks)
                await self._prolong(upload)
                if not whole:
                    raise BadRequest(f"The upload broke off; {journal.size_bytes} bytes of it are safe.")
                return await self._settled(user, await self._get(user, upload_id), journal)

    async def delete(self, user: Principal, upload_id: str) -> None:
        """The recording that it has become stays. Raises StillRunning while a piece is coming, NotFound."""
        upload = await self._get(user, upload_id)
        async with self._alone(upload_id):
            await self._drop(upload.owner, upload_id)

    async def delete_owner(self, owner: str) -> None:
        """Their journals go with the folder of their recordings."""
        await self._execute("DELETE FROM partial_upload WHERE owner = $1", owner)

    async def tidy(self) -> None:
        """For ever: what expired goes."""
        while True:
            try:
                await self.drop_expired()
            except ProductError:
                log.warning("expired uploads were left for later")
            except Exception as error:  # a bug here must not end the tidying for good
                log.exception("tidying up uploads failed", extra={"kind": type(error).__name__})
            await asyncio.sleep(TIDY_S)

    async def drop_expired(self) -> None:
        with in_our_words():
            rows = await self._pool.fetch(
                "SELECT upload_id, owner FROM partial_upload WHERE expires_at < now() LIMIT 1000"
            )
        for row in rows:
            if row["upload_id"] not in self._busy:
                await self._drop(row["owner"], row["upload_id"])

    # -- the pieces

    async def _take(self, journal: Journal, upload: Incoming, chunks: AsyncIterator[bytes]) -> bool:
        """False where the client left in the middle; what had come by then is kept."""
        buffer, room, whole = bytearray(), upload.length_bytes - journal.size_bytes, True
        try:
            async for chunk in _paced(chunks):
                room -= len(chunk)
                if room < 0:
                    raise TooLarge(f"More came than the {upload.length_bytes} bytes that were announced.")
                buffer += chunk
                if len(buffer) >= PIECE_BYTES:
                    await asyncio.to_thread(journal.append, bytes(buffer))
                    buffer.clear()
        except (ClientDisconnect, TimeoutError):
            whole = False
        await asyncio.to_thread(journal.append, bytes(buffer))
        return whole

    async def _settled(self, user: Principal, upload: Incoming, journal: Journal) -> PartialUpload:
        """A whole one becomes a recording, as if it had been sent in one piece."""
        if journal.size_bytes < upload.length_bytes:
            return _state(upload, journal.size_bytes)
        job_id = await self._studio.assemble(
            user.user_id, upload.recording_id, upload.upload_id, _plain(journal), upload.values
        )
        self._journals.delete(upload.owner, upload.upload_id)
        return _state(upload, upload.length_bytes, job_id)

    async def _finished(self, user: Principal, upload: Incoming) -> PartialUpload:
        """Raises NotFound where its recording was deleted since."""
        job_id = await self._studio.job_of(user, upload.recording_id)
        return _state(upload, upload.length_bytes, job_id)

    @asynccontextmanager
    async def _journal(self, upload: Incoming) -> AsyncIterator[Journal]:
        """Made if it is not there; so never without `_alone`, and never of an upload that is finished."""
        key = await self._keyring.data_key(upload.owner)
        journal = await self._journals.open(upload.owner, upload.upload_id, key)
        self._busy[upload.upload_id] = journal
        self._news.tell()
        try:
            yield journal
        finally:
            journal.close()

    @asynccontextmanager
    async def _alone(self, upload_id: str) -> AsyncIterator[None]:
        """Nobody else is at this upload meanwhile. Raises StillRunning where somebody still is after a moment."""
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                while upload_id in self._busy:
                    await self._news.heard()
        if upload_id in self._busy:
            raise StillRunning("Another piece of this upload is just coming; try again in a moment.", retry_after_s=1)
        self._busy[upload_id] = None
        try:
            yield
        finally:
            del self._busy[upload_id]
            self._news.tell()

    # -- the rows

    async def _get(self, user: Principal, upload_id: str) -> Incoming:
        """Raises NotFound, also for another user's and an expired one; VaultLocked."""
        key = await self._keyring.data_key(user.user_id)
        with in_our_words():
            row = await self._pool.fetchrow(
                "SELECT * FROM partial_upload WHERE upload_id = $1 AND owner = $2 AND expires_at > now()",
                upload_id,
                user.user_id,
            )
        if row is None:
            raise NotFound
        said = json.loads(unseal(key, row["sealed"], upload_id.encode()))
        kept = {name: row[name] for name in row.keys() if name != "sealed"}  # noqa: SIM118 - a record is no mapping
        return Incoming(**kept, values=said["values"], metadata=said["metadata"])

    async def _prolong(self, upload: Incoming) -> None:
        await self._execute(
            "UPDATE partial_upload SET expires_at = now() + make_interval(secs => $2) WHERE upload_id = $1",
            upload.upload_id,
            self._settings.partial_upload_s,
        )

    async def _drop(self, owner: str, upload_id: str) -> None:
        """The bytes first: a row without bytes is found again, bytes without a row never."""
        self._journals.delete(owner, upload_id)
        await self._execute("DELETE FROM partial_upload WHERE upload_id = $1 AND owner = $2", upload_id, owner)

    async def _execute(self, sql: str, *values: Any) -> None:
        with in_our_words():
            await self._pool.execute(sql, *values)


def _state(upload: Incoming, offset: int, job_id: str | None = None) -> PartialUpload:
    return PartialUpload(
        upload_id=upload.upload_id,
        offset_bytes=offset,
        length_bytes=upload.length_bytes,
        expires_at=upload.expires_at,
        metadata=upload.metadata,
        transcript_id=upload.recording_id if job_id is not None else None,
        job_id=job_id,
    )


def _require_offset(offset: int, there: int) -> None:
    if offset != there:
        raise OffsetConflict(f"The next piece begins at byte {there}, this one at {offset}.")


async def _paced(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Raises TimeoutError where nothing comes for too long."""
    while True:
        try:
            async with asyncio.timeout(IDLE_S):
                chunk = await anext(chunks)
        except StopAsyncIteration:
            return
        yield chunk


async def _plain(journal: Journal) -> AsyncIterator[bytes]:
    for at in range(0, journal.size_bytes, PIECE_BYTES):
        yield await asyncio.to_thread(journal.read, at, at + PIECE_BYTES)
