"""Rules for how long things are kept are kept, and what could not be is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from services.rag import conversations, documents, repository, retention, transcripts
from services.rag.retention import Keeper
from services.rag.vaults import Vault
from shared.auth.principal import Principal
from shared.errors import Conflict, NotFound, UpstreamUnavailable
from shared.schemas.ownership import RetentionRules
from tests.vault_world import ANNA, BEN, World, fill


class Recordings:
    """The transcription service, as far as it deletes."""

    def __init__(self, world: World) -> None:
        self.world, self.dead = world, False
        self.busy: set[str] = set()

    async def delete(self, user: Principal, transcript_id: str) -> None:
        if self.dead:
            raise UpstreamUnavailable
        if self.world.sounds.pop(transcript_id, None) is None:
            raise NotFound
        await self.world.library.forget_transcript(user.user_id, transcript_id)

    async def sounds(self, user: Principal, before: datetime) -> list[str]:
        if self.dead:
            raise UpstreamUnavailable
        found = await self.world.library.run(user.user_id, lambda vault: retention.older(vault, "transcripts", before))
        return [each for each in found if each in self.world.sounds]

    async def drop_sound(self, user: Principal, transcript_id: str) -> None:
        if transcript_id in self.busy:
            raise Conflict("It is being transcribed.")
        del self.world.sounds[transcript_id]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    yield made
    await made.vaults.close()


@pytest.fixture
def recordings(world: World) -> Recordings:
    return Recordings(world)


@pytest.fixture
def keeper(world: World, recordings: Recordings) -> Keeper:
    return Keeper(world.library, world.reading, recordings, world.folder / "vaults")  # type: ignore[arg-type]


async def rule(world: World, **days: int | None) -> None:
    await world.library.run(ANNA.user_id, lambda vault: retention.put(vault, RetentionRules(**days)))


async def left(world: World) -> dict[str, int]:
    def count(vault: Vault) -> dict[str, int]:
        return {
            "transcripts": len(transcripts.page(vault, 9, None, {})),
            "documents": len(documents.page(vault, 9, None)),
            "conversations": len(conversations.page(vault, 9, None)),
            "memories": len(repository.list_memories(vault, 9, None, None, None)),
        }

    return await world.library.run(ANNA.user_id, count)


ALL = {"transcripts": 1, "documents": 1, "conversations": 1, "memories": 1}
LATER = datetime.now(UTC) + timedelta(days=31)


async def test_without_rules_everything_stays(world: World, keeper: Keeper) -> None:
    await fill(world)
    assert await keeper.apply(ANNA.user_id, LATER) is None
    await rule(world, transcripts_days=None)
    assert await keeper.apply(ANNA.user_id, LATER) is None and await left(world) == ALL
    found = await world.library.run(ANNA.user_id, retention.get)
    assert found.last_run is None and found.rules == RetentionRules()


async def test_what_is_past_its_time_is_gone_everywhere_and_looked_for_again(world: World, keeper: Keeper) -> None:
    ids = await fill(world)
    await rule(world, transcripts_days=30, documents_days=30, conversations_days=30)
    assert await left(world) == ALL
    run = await keeper.apply(ANNA.user_id, LATER)
    assert run is not None and run.verified
    assert run.removed == {"transcripts": 1, "documents": 1, "conversations": 1}
    assert run.remaining == {"transcripts": 0, "documents": 0, "conversations": 0}
    assert await left(world) == ALL | {"transcripts": 0, "documents": 0, "conversations": 0}, "notes stay"
    assert not world.sounds and not list((world.folder / "documents").rglob("doc_*"))
    assert not await world.found("boiler", ANNA) and not await world.found("spare key", ANNA)
    assert (await world.library.run(ANNA.user_id, retention.get)).last_run == run
    with pytest.raises(NotFound):
        await world.library.run(ANNA.user_id, lambda vault: conversations.get(vault, ids["conversation"]))


async def test_what_is_young_enough_stays(world: World, keeper: Keeper) -> None:
    await fill(world)
    await rule(world, transcripts_days=32, documents_days=1)
    run = await keeper.apply(ANNA.user_id, LATER)
    assert run is not None and run.removed == {"transcripts": 0, "documents": 1}
    assert await left(world) == ALL | {"documents": 0}


async def test_a_transcript_without_sound_goes_too(world: World, keeper: Keeper) -> None:
    await fill(world)
    world.sounds.clear()
    await rule(world, transcripts_days=30)
    run = await keeper.apply(ANNA.user_id, LATER)
    assert run is not None and run.verified and (await left(world))["transcripts"] == 0


async def test_what_cannot_be_deleted_is_told_and_deleted_the_next_time(
    world: World, keeper: Keeper, recordings: Recordings
) -> None:
    await fill(world)
    await rule(world, transcripts_days=30, documents_days=30)
    recordings.dead = True
    run = await keeper.apply(ANNA.user_id, LATER)
    assert run is not None and not run.verified
    assert run.remaining == {"transcripts": 1, "documents": 0}, "the others are deleted all the same"
    recordings.dead = False
    again = await keeper.apply(ANNA.user_id, LATER)
    assert again is not None and again.verified and again.removed == {"transcripts": 1, "documents": 0}


async def test_sound_goes_and_text_stays(world: World, keeper: Keeper, recordings: Recordings) -> None:
    ids = await fill(world)
    await rule(world, audio_days=30)
    recordings.busy.add(ids["transcript"])
    run = await keeper.apply(ANNA.user_id, LATER)
    assert run is not None and run.remaining == {"audio": 1} and not run.verified
    recordings.busy.clear()
    run = await keeper.apply(ANNA.user_id, LATER)
    assert run is not None and run.verified and (run.removed, run.remaining) == ({"audio": 1}, {"audio": 0})
    assert not world.sounds and await left(world) == ALL
    assert await world.found("boiler", ANNA) == ["The boiler is broken."]


async def test_young_sound_stays_and_what_goes_with_its_recording_is_counted_once(world: World, keeper: Keeper) -> None:
    await fill(world)
    await rule(world, audio_days=32)
    run = await keeper.apply(ANNA.user_id, LATER)
    assert run is not None and run.removed == {"audio": 0} and len(world.sounds) == 1
    await rule(world, audio_days=1, transcripts_days=1)
    run = await keeper.apply(ANNA.user_id, LATER)
    assert run is not None and run.verified and run.removed == {"transcripts": 1, "audio": 0}


async def test_what_cannot_be_looked_at_is_not_called_verified(
    world: World, keeper: Keeper, recordings: Recordings
) -> None:
    await fill(world)
    await rule(world, audio_days=1, documents_days=1)
    recordings.dead = True
    run = await keeper.apply(ANNA.user_id, LATER)
    assert run is not None and run.unknown == ["audio"] and not run.verified
    assert run.removed == {"audio": 0, "documents": 1} and run.remaining == {"documents": 0}


async def test_one_users_rules_are_nobody_elses(world: World, keeper: Keeper) -> None:
    await fill(world)
    await fill(world, BEN.user_id)
    await rule(world, documents_days=1)
    await keeper.apply(BEN.user_id, LATER)
    assert await world.found("spare key", BEN)


async def test_the_daily_pass_visits_every_vault_and_survives_a_bad_one(
    world: World, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(world)
    await rule(world, conversations_days=1)
    (world.folder / "vaults" / "usr_aaa.db").write_bytes(b"no database at all" * 1000)
    await world.library.run(
        ANNA.user_id, lambda vault: vault.db.execute("UPDATE conversation SET updated_at = '2000-01-01T00:00:00'")
    )
    monkeypatch.setattr(retention, "FIRST_S", 0.0)
    passing = asyncio.create_task(keeper.run())
    async with asyncio.timeout(60):
        while (await world.library.run(ANNA.user_id, retention.get)).last_run is None:
            await asyncio.sleep(0.02)
    passing.cancel()
    assert (await left(world))["conversations"] == 0


async def test_a_document_that_nobody_reads_is_asked_for_again(world: World, keeper: Keeper) -> None:
    ids = await fill(world)
    found = await world.library.run(ANNA.user_id, lambda vault: documents.get(vault, ids["document"]))
    waiting = found.model_copy(update={"status": "processing"})
    await world.library.run(ANNA.user_id, lambda vault: documents.put(vault, waiting))
    await keeper.tend(ANNA.user_id)
    assert world.submitted == [], "it may just be at work"
    await world.library.run(ANNA.user_id, lambda vault: vault.db.execute("UPDATE document SET created_at = '2000'"))
    await keeper.tend(ANNA.user_id)
    (task,) = world.submitted
    assert task.payload == {"user_id": ANNA.user_id, "document_id": ids["document"]}
    assert task.idempotency_key == ids["document"], "asked twice is done once"


def test_rules_are_bounded() -> None:
    for days in (0, -1, 10**9, 1.5):
        with pytest.raises(ValueError):
            RetentionRules.model_validate({"documents_days": days})
    with pytest.raises(ValueError):
        RetentionRules.model_validate({"document_days": 1})


def test_nothing_else_is_promised() -> None:
    assert {name.removesuffix("_days") for name in RetentionRules.model_fields} == set(retention.KINDS)
