"""Changes of recordings and speakers: in the order in which they became visible, and none is skipped."""

from __future__ import annotations

from typing import Any

import asyncpg
import httpx

from services.transcription.speakers import Speakers
from shared.schemas.ids import new_id
from shared.storage import postgres
from shared.storage.keyring import PostgresKeyring
from tests.integration.storeroom import storeroom
from tests.integration.transcription_house import JFK, House, upload

__all__ = ["storeroom"]


def changes(user: httpx.Client, after: int = 0, limit: int = 200) -> dict[str, Any]:
    answer = user.get("/transcription/changes", params={"after": after, "limit": limit})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_recording_comes_changes_and_goes(storeroom: House) -> None:
    with storeroom.client() as user, storeroom.client() as other:
        recording = upload(user, JFK, wait_s=0).json()["transcript_id"]
        first = changes(user)
        assert [each["id"] for each in first["data"]] == [recording]
        assert first["data"][0]["recording"]["title"] == "jfk"
        user.patch(f"/transcription/{recording}", json={"title": "Inaugural"}).raise_for_status()
        second = changes(user, first["position"])
        assert second["data"][-1]["recording"]["title"] == "Inaugural"
        user.delete(f"/transcription/{recording}")  # 502 where the vault is away: it is gone for its user all the same
        (gone,) = changes(user, second["position"])["data"]
        assert gone["id"] == recording and gone["deleted"] and gone["recording"] is None
        assert changes(other)["data"] == []


async def test_speakers_are_told_as_they_are_named_and_forgotten(storeroom: House) -> None:
    pool = await postgres.connect(storeroom.environment["DATABASE_URL"], max_size=1)
    speakers, owner = Speakers(pool, PostgresKeyring(pool, storeroom.environment["RAG_DB_KEY"])), new_id("usr")
    with storeroom.client(owner) as user:
        await speakers.add(owner, "john", "John")
        await speakers.rename(owner, "john", "Johnny", None)
        found = changes(user)
        assert [(each["id"], each["speaker"]["name"]) for each in found["data"]] == [("john", "Johnny")]
        await speakers.delete(owner, "john", None)
        (gone,) = changes(user, found["position"])["data"]
        assert gone["deleted"] and gone["kind"] == "speaker"
        with storeroom.as_gateway() as gateway:
            gateway.delete(f"/transcription/owner/{owner}").raise_for_status()
    assert await pool.fetchval("SELECT count(*) FROM recording_change WHERE owner = $1", owner) == 0
    await pool.close()


INSERT = (
    "INSERT INTO recording (recording_id, owner, sealed, size_bytes, sha256, status)"
    " VALUES ($1, $2, '', 0, '', 'deleting')"
)


async def test_who_commits_late_is_not_skipped(storeroom: House) -> None:
    slow, quick = [await asyncpg.connect(storeroom.environment["DATABASE_URL"]) for _ in range(2)]
    owner, late, early = new_id("usr"), new_id("rec"), new_id("rec")
    with storeroom.client(owner) as user:
        turn = slow.transaction()
        await turn.start()
        await slow.execute(INSERT, late, owner)
        await quick.execute(INSERT, early, owner)
        seen = changes(user)
        assert [each["id"] for each in seen["data"]] == [early]
        await turn.commit()
        assert [each["id"] for each in changes(user, seen["position"])["data"]] == [late]
    for each in (slow, quick):
        await each.close()


async def test_pages_are_bounded_and_whole(storeroom: House) -> None:
    connection = await asyncpg.connect(storeroom.environment["DATABASE_URL"])
    owner, ids = new_id("usr"), [new_id("rec") for _ in range(7)]
    for each in ids:
        await connection.execute(INSERT, each, owner)
    await connection.execute("DELETE FROM recording WHERE recording_id = $1", ids[0])
    await connection.close()
    seen, at, more = [], 0, True
    with storeroom.client(owner) as user:
        while more:
            found = changes(user, at, 3)
            assert len(found["data"]) <= 3
            seen += [each["id"] for each in found["data"]]
            at, more = found["position"], found["has_more"]
        assert seen == [*ids[1:], ids[0]]
        for bad in ({"after": -1}, {"limit": 0}, {"limit": 201}):
            assert user.get("/transcription/changes", params=bad).status_code == 422
