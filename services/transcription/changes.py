"""What changed of recordings and speakers since a client last asked. Triggers of the database note it (022)."""

from __future__ import annotations

from typing import Any

from services.transcription.service import Studio
from services.transcription.voices import enrolled
from shared.auth.principal import Principal
from shared.errors import NotFound
from shared.schemas.speakers import EnrolledSpeaker
from shared.schemas.sync import Change, Changes
from shared.storage.postgres import Pool, in_our_words


class ChangeLog:
    """Of all users; every method is told whose."""

    def __init__(self, pool: Pool, studio: Studio) -> None:
        self._pool, self._studio = pool, studio

    async def since(self, user: Principal, after: int, limit: int) -> Changes:
        """At most `limit`, in order; each thing once, as it is now. Raises VaultLocked.

        A recording that is completed is the vault's to tell; one that is not, and every deletion, is told here.
        """
        await self._studio.keyring.data_key(user.user_id)
        with in_our_words():
            # The table's own number: another one where it was restored from a backup, with positions of its own.
            origin = await self._pool.fetchval("SELECT 'recording_change'::regclass::oid::text")
            rows = await self._pool.fetch(
                "SELECT kind, id, seq, deleted FROM recording_change WHERE owner = $1 AND seq > $2"
                " ORDER BY seq LIMIT $3",
                user.user_id,
                after,
                limit + 1,
            )
        page = rows[:limit]
        people = await self._people(user, page)
        found = [await self._change(user, row, people) for row in page]
        return Changes(
            data=[each for each in found if each is not None],
            position=page[-1]["seq"] if page else after,
            origin=origin,
            has_more=len(rows) > limit,
        )

    async def _people(self, user: Principal, rows: list[Any]) -> dict[str, EnrolledSpeaker]:
        if not any(row["kind"] == "speaker" and not row["deleted"] for row in rows):
            return {}
        people = await self._studio.pipeline.voices.speakers.all(user.user_id)
        return {each.speaker_id: enrolled(each) for each in people}

    async def _change(self, user: Principal, row: Any, people: dict[str, EnrolledSpeaker]) -> Change | None:
        kind, key = row["kind"], row["id"]
        if row["deleted"] or (kind == "speaker" and key not in people):
            return Change(kind=kind, id=key, deleted=True)
        if kind == "speaker":
            return Change(kind=kind, id=key, speaker=people[key])
        try:
            found = await self._studio.unfinished(user, key)
        except NotFound:  # deleted since the rows were read
            return Change(kind=kind, id=key, deleted=True)
        return None if found is None else Change(kind=kind, id=key, recording=found)

    async def forget_owner(self, owner: str) -> None:
        with in_our_words():
            await self._pool.execute("DELETE FROM recording_change WHERE owner = $1", owner)
