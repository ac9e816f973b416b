"""What a client that keeps a copy is told: everything once, in order, deletions too, and never a passage."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.rag import changes, conversations, decisions, repository, transcripts
from services.rag.vaults import Vault
from shared.errors import CursorOutdated
from shared.schemas.ids import new_id
from shared.schemas.rag import EditMemory, Message, NewMemory
from shared.schemas.sync import Change, Changes
from shared.schemas.transcription import EditTranscript, Segment, Speaker, Transcript
from tests.vault_world import ANNA, BEN, World


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    yield made
    await made.library.learner.close()
    await made.vaults.close()


async def since(world: World, after: int = 0, limit: int = 200) -> Changes:
    return await world.library.run(ANNA.user_id, lambda vault: changes.since(vault, after, limit))


def told(found: Changes) -> list[tuple[str, str, bool]]:
    return [(each.kind, each.id, each.deleted) for each in found.data]


def spoken(text: str = "We meet on Friday at the old bridge.", status: str = "completed") -> Transcript:
    segment = Segment(segment_id=new_id("seg"), start_s=0, end_s=3, speaker="SPEAKER_00", text=text, confidence=0.9)
    return Transcript.model_validate(
        {
            "transcript_id": new_id("rec"), "status": status, "title": "Talk", "created_at": datetime.now(UTC),
            "text": text, "segments": [segment], "speakers": [Speaker(label="SPEAKER_00")],
        }
    )  # fmt: skip


async def test_each_thing_is_told_once_as_it_is_now(world: World) -> None:
    first = await world.library.remember(ANNA.user_id, NewMemory(content="The key lies under the pot."))
    second = await world.library.remember(ANNA.user_id, NewMemory(content="The bin is emptied on Monday."))
    await world.library.edit(ANNA.user_id, first.memory_id, EditMemory(title="Key"), None)
    found = await since(world)
    assert told(found) == [("memory", second.memory_id, False), ("memory", first.memory_id, False)]
    assert found.data[1].memory is not None and found.data[1].memory.title == "Key"
    assert not found.has_more and (await since(world, found.position)).data == []


async def test_deletions_leave_a_mark_and_no_words(world: World) -> None:
    memory = await world.library.remember(ANNA.user_id, NewMemory(content="The canary is called Quetzalcoatl."))
    before = await since(world)
    await world.library.run(ANNA.user_id, lambda vault: decisions.forget(vault, memory.memory_id, None))
    after = await since(world, before.position)
    assert told(after) == [("memory", memory.memory_id, True)] and after.data[0].memory is None
    assert "Quetzalcoatl" not in after.model_dump_json()


async def test_recordings_without_their_passages(world: World) -> None:
    transcript = spoken("Hmm, well, yes.")
    await world.library.put_transcript(ANNA.user_id, transcript)
    assert told(await since(world)) == [("recording", transcript.transcript_id, False)]
    at = (await since(world)).position
    edit = EditTranscript(title="Bridge")
    await world.library.run(ANNA.user_id, lambda vault: transcripts.edit(vault, transcript.transcript_id, edit, None))
    (changed,) = (await since(world, at)).data
    assert changed.recording is not None and changed.recording.title == "Bridge"
    await world.library.forget_transcript(ANNA.user_id, transcript.transcript_id)
    assert told(await since(world)) == [("recording", transcript.transcript_id, True)]


async def test_what_is_still_worked_on_is_not_told_here(world: World) -> None:
    early = spoken(status="processing")
    await world.library.put_transcript(ANNA.user_id, early)
    found = await since(world)
    assert found.data == [] and found.position > 0
    await world.library.put_transcript(ANNA.user_id, early.model_copy(update={"status": "completed"}))
    assert told(await since(world, found.position)) == [("recording", early.transcript_id, False)]


async def test_conversations_move_with_each_turn(world: World) -> None:
    made = await world.library.run(ANNA.user_id, lambda vault: conversations.create(vault, "Keys"))
    at = (await since(world)).position
    message = Message(
        message_id=new_id("msg"), role="assistant", content="Under the pot.", created_at=datetime.now(UTC)
    )
    await world.library.put_message(ANNA.user_id, made.conversation_id, message)
    found = await since(world, at)
    assert told(found) == [("conversation", made.conversation_id, False)]
    assert found.data[0].conversation is not None and found.data[0].conversation.title == "Keys"


async def test_a_fact_that_is_taken_back_is_gone_and_comes_again(world: World) -> None:
    transcript = spoken("My name is Anna Berg. I live in Bremen.")
    await world.library.put_transcript(ANNA.user_id, transcript)
    await world.library.learner.learn(ANNA.user_id, transcript.transcript_id)
    facts = [each.id for each in (await since(world)).data if each.kind == "memory" and not each.deleted]
    assert facts
    at = (await since(world)).position
    await world.library.run(ANNA.user_id, lambda vault: decisions.decide(vault, facts[0], "reject"))
    found = await since(world, at)
    assert ("memory", facts[0], True) in told(found)
    await world.library.run(ANNA.user_id, lambda vault: decisions.undo(vault, facts[0]))
    assert ("memory", facts[0], False) in told(await since(world, found.position))


async def test_clearing_the_vault_is_told_too(world: World) -> None:
    memory = await world.library.remember(ANNA.user_id, NewMemory(content="The key lies under the pot."))
    await world.library.run(ANNA.user_id, repository.clear)
    assert told(await since(world)) == [("memory", memory.memory_id, True)]


async def test_a_position_from_another_life_is_refused_and_users_are_apart(world: World) -> None:
    await world.library.remember(ANNA.user_id, NewMemory(content="Mine alone."))
    with pytest.raises(CursorOutdated):
        await since(world, 10_000)
    assert (await world.library.run(BEN.user_id, lambda vault: changes.since(vault, 0, 10))).data == []


def apply(copy: dict[str, str | None], found: Changes) -> None:
    """As docs/mobile.md says."""
    for each in found.data:
        assert isinstance(each, Change)
        if each.deleted:
            copy.pop(each.id, None)
        else:
            copy[each.id] = each.memory.content if each.memory else None


@pytest.mark.parametrize("seed", range(3))
async def test_whoever_reads_in_small_pages_ends_with_the_same_copy(world: World, seed: int) -> None:
    rng, copy, position, there = random.Random(seed), {}, 0, {}
    for turn in range(40):
        if there and rng.random() < 0.4:
            gone = rng.choice(sorted(there))
            del there[gone]
            await world.library.run(ANNA.user_id, lambda vault, key=gone: decisions.forget(vault, key, None))
        elif there and rng.random() < 0.5:
            changed = rng.choice(sorted(there))
            there[changed] = f"Changed in turn {turn}."
            await world.library.edit(ANNA.user_id, changed, EditMemory(content=there[changed]), None)
        else:
            made = await world.library.remember(ANNA.user_id, NewMemory(content=f"Made in turn {turn}."))
            there[made.memory_id] = made.content
        if rng.random() < 0.5:
            found = await since(world, position, rng.randint(1, 3))
            apply(copy, found)
            position = found.position
    while True:
        found = await since(world, position, 2)
        apply(copy, found)
        position = found.position
        if not found.has_more:
            break
    assert copy == there


def test_a_vault_from_before_tells_what_it_had(tmp_path: Path) -> None:
    from services.rag import schema
    from shared.storage import sqlcipher

    path, key = tmp_path / "old.db", b"k" * 32
    (number,) = [at for at, step in enumerate(schema.STEPS) if "CREATE TABLE change" in step]
    old = sqlcipher.connect(path, key)
    sqlcipher.migrate(old, schema.STEPS[:number])
    old.execute("INSERT INTO conversation VALUES ('cnv_1', 'Keys', '2026-01-01', '2026-01-01', 1)")
    old.close()
    vault = Vault(path, key, "none", 4)
    found = changes.since(vault, 0, 10)
    assert [(each.kind, each.id) for each in found.data] == [("conversation", "cnv_1")]
    vault.close()
