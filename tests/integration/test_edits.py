"""Edits of transcripts in real SQLCipher vaults, found by real MiniLM vectors at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.rag import edits, repository, revisions, transcripts
from services.rag.schema import STEPS
from services.rag.service import Library
from services.rag.transcripts import Edit
from shared.errors import Conflict, Invalid, NotFound, PreconditionFailed
from shared.schemas.edits import ChangeSpeakers, EditSegment, MergeSegments, Revision, SplitSegment
from shared.schemas.rag import SearchRequest
from shared.schemas.transcription import EditTranscript, SpanEmotion, Speaker, Transcript
from shared.storage import sqlcipher
from tests.integration.test_memory import ANNA, BEN, embedder, found, library, transcript, vaults

__all__ = ["embedder", "library", "vaults"]
A, B = "SPEAKER_00", "SPEAKER_01"


def text(segment_id: str, to: str) -> Edit:
    change = EditSegment(text=to)
    return Edit("text", partial(edits.edit_segment, segment_id=segment_id, change=change), segment_id)


def speakers(*given: Speaker, **segments: str) -> Edit:
    change = ChangeSpeakers(speakers=list(given), segments=segments or None)
    return Edit("speakers", partial(edits.change_speakers, change=change))


async def stored(library: Library, said: Transcript, user: str = ANNA) -> Transcript:
    return await library.run(user, lambda vault: transcripts.get(vault, said.transcript_id))


async def history(library: Library, said: Transcript) -> list[Revision]:
    return await library.run(ANNA, lambda vault: revisions.of(vault, transcripts.get(vault, said.transcript_id)))


async def memory_ids(library: Library, said: Transcript) -> dict[str, str]:
    sql = "SELECT segment_id, memory_id FROM memory WHERE transcript_id = ? AND memory_type = 'transcript'"
    rows = await library.run(ANNA, lambda vault: vault.db.execute(sql, (said.transcript_id,)).fetchall())
    return {row["segment_id"]: row["memory_id"] for row in rows}


async def test_an_edited_word_is_found_at_once_and_the_old_one_no_more(library: Library) -> None:
    said = transcript((A, "We feed the parrot at noon."), (B, "I will buy some bread."))
    await library.put_transcript(ANNA, said)
    before = await memory_ids(library, said)
    changed = await library.revise(ANNA, said.transcript_id, text("seg_00001", "We feed the walrus at noon."), 1)
    assert changed.revision == 2 and changed.text == "We feed the walrus at noon. I will buy some bread."
    assert await found(library, "walrus", mode="text") == ["We feed the walrus at noon."]
    assert not await found(library, "parrot", mode="text")
    assert (await found(library, "sea animal", mode="vector"))[0] == "We feed the walrus at noon."
    assert await stored(library, said) == changed
    after = await memory_ids(library, said)
    assert after["seg_00002"] == before["seg_00002"], "what did not change stays what it was, for those who cite it"
    page = await library.run(ANNA, lambda vault: transcripts.page(vault, 9, None, {"q": "walrus"}))
    assert [each.revision for each in page] == [2]


async def test_split_merge_and_speakers_reach_search(library: Library) -> None:
    said = transcript((A, "The key is under the mat. Thank you so much."), (B, "Goodbye."))
    await library.put_transcript(ANNA, said)
    name = said.transcript_id
    cut = Edit("split", partial(edits.split, segment_id="seg_00001", where=SplitSegment(at_word=6)), "seg_00001")
    parts = await library.revise(ANNA, name, cut, None)
    second = parts.segments[1].segment_id
    await library.revise(
        ANNA, name, Edit("speaker", partial(edits.edit_segment, segment_id=second, change=EditSegment(speaker=B))), None
    )
    assert await found(library, "thank you", speakers=[B], mode="text") == ["Thank you so much. Goodbye."]
    eve = Speaker(label=B, speaker_id="eve", name="Eve", method="manual", confidence=1.0)
    named = await library.revise(ANNA, name, speakers(eve), None)
    assert [(each.label, each.name) for each in named.speakers] == [(A, None), (B, "Eve")]
    hits = await library.search(ANNA, SearchRequest(query="goodbye", speakers=["EVE"], mode="text"))
    assert [hit.metadata.speaker for hit in hits] == ["Eve"]
    joined = Edit("merge", partial(edits.merge, segment_id=second, how=MergeSegments()), second)
    assert [each.text for each in (await library.revise(ANNA, name, joined, None)).segments][1:] == [
        "Thank you so much. Goodbye."
    ]
    assert [each.kind for each in await history(library, said)] == [
        "merge", "speakers", "speaker", "split", "transcribed",
    ]  # fmt: skip
    page = await library.run(ANNA, lambda vault: transcripts.page(vault, 9, None, {"speaker": "eve"}))
    assert len(page) == 1


async def test_every_state_can_be_read_and_had_again(library: Library) -> None:
    said = transcript((A, "One fish."), (B, "Two fish."))
    await library.put_transcript(ANNA, said)
    name = said.transcript_id
    states = {1: await stored(library, said)}
    states[2] = await library.revise(ANNA, name, text("seg_00001", "Red fish."), None)
    states[3] = await library.run(ANNA, lambda v: transcripts.edit(v, name, EditTranscript(title="Fish"), 2))
    states[4] = await library.revise(ANNA, name, text("seg_00002", "Blue fish."), None)
    for number, state in states.items():
        assert (await library.transcript_at(ANNA, name, number)).model_dump_json() == state.model_dump_json()
    back = await library.revert(ANNA, name, 1, 4)
    assert back.revision == 5
    assert back.model_copy(update={"revision": 1}).model_dump_json() == states[1].model_dump_json()
    assert await found(library, "fish") and not await found(library, "red blue", mode="text")
    hits = await library.search(ANNA, SearchRequest(query="one", mode="text"))
    assert [hit.metadata.title for hit in hits] == ["Call"]
    forth = await library.revert(ANNA, name, 4, None)
    assert forth.model_copy(update={"revision": 4}).model_dump_json() == states[4].model_dump_json()
    assert await library.revert(ANNA, name, 4, None) == forth, "nothing to do is no revision"
    told = [(each.revision, each.kind, each.segment_id, each.undoable) for each in await history(library, said)]
    assert told == [
        (6, "revert", None, True),
        (5, "revert", None, True),
        (4, "text", "seg_00002", True),
        (3, "details", None, True),
        (2, "text", "seg_00001", True),
        (1, "transcribed", None, False),
    ]
    for number in (7, 999_999_999):
        with pytest.raises(NotFound):
            await library.revert(ANNA, name, number, None)


async def test_a_state_from_the_midst_of_the_work_does_not_make_it_unfinished(library: Library) -> None:
    said = transcript((A, "My name is Bop."))
    early = said.model_copy(update={"status": "processing", "job_id": "job_1"})
    await library.put_transcript(ANNA, early)
    await library.revise(ANNA, said.transcript_id, text("seg_00001", "My name is Bob."), None)
    whole = said.model_copy(update={"job_id": "job_2"})
    await library.put_transcript(ANNA, whole)
    back = await library.revert(ANNA, said.transcript_id, 1, None)
    assert (back.text, back.status, back.job_id) == ("My name is Bop.", "completed", "job_2")
    assert len(await library.run(ANNA, lambda vault: transcripts.page(vault, 9, None, {}))) == 1


async def test_what_nobody_changed_has_one_state(library: Library) -> None:
    said = transcript((A, "As it is."))
    await library.put_transcript(ANNA, said)
    assert [(each.revision, each.kind, each.undoable) for each in await history(library, said)] == [
        (1, "transcribed", False)
    ]


async def test_the_first_state_and_the_last_hundred_are_kept(library: Library) -> None:
    said = transcript((A, "Number 0."))
    await library.put_transcript(ANNA, said)
    name = said.transcript_id
    for n in range(1, 112):
        await library.revise(ANNA, name, text("seg_00001", f"Number {n}."), n)
    kept = [each.revision for each in await history(library, said)]
    assert kept == [*range(112, 11, -1), 1]
    assert [each.revision for each in await history(library, said) if not each.undoable] == [12, 1]
    with pytest.raises(NotFound, match="first one and the last 100"):
        await library.transcript_at(ANNA, name, 11)
    assert (await library.revert(ANNA, name, 1, None)).text == "Number 0."
    assert (await library.transcript_at(ANNA, name, 13)).text == "Number 12."


async def test_two_who_edit_at_once_lose_nothing(library: Library) -> None:
    said = transcript(*((A, f"Sentence {n}.") for n in range(8)))
    await library.put_transcript(ANNA, said)
    name = said.transcript_id
    await asyncio.gather(
        *(library.revise(ANNA, name, text(f"seg_{n:05d}", f"Changed {n}."), None) for n in range(1, 9))
    )
    now = await stored(library, said)
    assert (now.text, now.revision) == (" ".join(f"Changed {n}." for n in range(1, 9)), 9)
    both = await asyncio.gather(
        library.revise(ANNA, name, text("seg_00001", "Anna's."), 9),
        library.revise(ANNA, name, text("seg_00001", "Ben's."), 9),
        return_exceptions=True,
    )
    assert sorted(type(each).__name__ for each in both) == ["PreconditionFailed", "Transcript"]
    with pytest.raises(PreconditionFailed):
        await library.revise(ANNA, name, text("seg_00002", "Late."), 1)
    with pytest.raises(PreconditionFailed):
        await library.revert(ANNA, name, 1, 3)


async def test_the_pipeline_coming_late_keeps_a_users_edits(library: Library) -> None:
    said = transcript((A, "My name is Bop."), (B, "Hello."))
    bare = said.model_copy(update={"segments": [s.model_copy(update={"emotion": None}) for s in said.segments]})
    await library.put_transcript(ANNA, bare)
    name = said.transcript_id
    await library.revise(ANNA, name, text("seg_00001", "My name is Bob."), None)
    again = await library.put_transcript(ANNA, said)
    await library.learner.settled()
    assert (again.text, again.revision) == ("My name is Bob. Hello.", 3)
    assert [each.emotion for each in again.segments] == [SpanEmotion(label="joy", score=0.8)] * 2
    assert await stored(library, said) == again
    assert await found(library, "bob", mode="text") and not await found(library, "bop", mode="text")
    assert [each.kind for each in await history(library, said)] == ["transcribed", "text", "transcribed"]
    assert (await library.revert(ANNA, name, 1, None)).text == bare.text


async def test_an_edit_between_reading_and_writing_of_the_pipeline_is_kept(library: Library) -> None:
    """The edit arrives while the pipeline's passages are being embedded."""
    said = transcript((A, "My name is Bop."))
    await library.put_transcript(ANNA, said)
    real, came = library.embed, False

    async def embed(texts: list[str]) -> object:
        nonlocal came
        if not came:
            came = True
            await library.revise(ANNA, said.transcript_id, text("seg_00001", "My name is Bob."), None)
        return await real(texts)

    library.embed = embed  # type: ignore[assignment,method-assign]
    assert (await library.put_transcript(ANNA, said)).text == "My name is Bob."
    await library.learner.settled()
    assert await found(library, "bob", mode="text") and not await found(library, "bop", mode="text")


async def test_what_is_not_to_be_remembered_is_not_found_after_an_edit_either(library: Library) -> None:
    said = transcript((A, "Between us."))
    await library.put_transcript(ANNA, said, remember=False)
    await library.revise(ANNA, said.transcript_id, text("seg_00001", "Between you and me."), None)
    await library.revert(ANNA, said.transcript_id, 1, None)
    assert not await memory_ids(library, said)


async def test_a_forgotten_passage_stays_forgotten_while_others_are_edited(library: Library) -> None:
    said = transcript((A, "A secret."), (B, "The weather."), (A, "The news."))
    await library.put_transcript(ANNA, said)
    secret = (await memory_ids(library, said))["seg_00001"]
    await library.run(ANNA, lambda vault: repository.delete_memory(vault, secret, None))
    await library.revise(ANNA, said.transcript_id, text("seg_00003", "The old news."), None)
    assert not await found(library, "secret", mode="text")


async def test_an_emptied_and_reverted_transcript_is_found_again(library: Library) -> None:
    said = transcript((A, "Thank you for watching."))
    await library.put_transcript(ANNA, said)
    await library.revise(ANNA, said.transcript_id, text("seg_00001", ""), None)
    assert not await memory_ids(library, said)
    await library.revert(ANNA, said.transcript_id, 1, None)
    assert await found(library, "watching", mode="text") == ["Thank you for watching."]


async def test_nobody_edits_what_is_another_users(library: Library) -> None:
    said = transcript((A, "Anna's words."))
    await library.put_transcript(ANNA, said)
    calls: list[Callable[[], object]] = [
        lambda: library.revise(BEN, said.transcript_id, text("seg_00001", "Ben's."), None),
        lambda: library.revert(BEN, said.transcript_id, 1, None),
        lambda: library.transcript_at(BEN, said.transcript_id, 1),
    ]
    for call in calls:
        with pytest.raises(NotFound):
            await call()  # type: ignore[misc]
    assert (await stored(library, said)).text == "Anna's words."


async def test_revisions_are_gone_with_their_transcript_and_lie_in_no_file(library: Library, tmp_path: Path) -> None:
    said = transcript((A, "hazelnut stracciatella"))
    await library.put_transcript(ANNA, said)
    await library.revise(ANNA, said.transcript_id, text("seg_00001", "pistachio amarena"), None)
    raw = b"".join(each.read_bytes() for each in (tmp_path / "vaults").iterdir())
    assert not any(word in raw for word in (b"hazelnut", b"pistachio"))
    count = "SELECT count(*) FROM transcript_revision"
    assert await library.run(ANNA, lambda vault: vault.db.execute(count).fetchone()[0]) == 2
    await library.run(ANNA, lambda vault: transcripts.delete(vault, said.transcript_id, None))
    assert await library.run(ANNA, lambda vault: vault.db.execute(count).fetchone()[0]) == 0
    assert not await found(library, "pistachio hazelnut", mode="text")
    await library.put_transcript(ANNA, said)
    await library.revise(ANNA, said.transcript_id, text("seg_00001", "once more"), None)
    await library.run(ANNA, repository.clear)
    assert await library.run(ANNA, lambda vault: vault.db.execute(count).fetchone()[0]) == 0


async def test_a_refused_edit_changes_nothing(library: Library) -> None:
    said = transcript((A, "One."), (B, "Two."))
    await library.put_transcript(ANNA, said)
    before = await stored(library, said)
    merge = Edit("merge", partial(edits.merge, segment_id="seg_00001", how=MergeSegments()), "seg_00001")
    for edit, error in (
        (merge, Conflict),
        (text("seg_9", "x"), NotFound),
        (speakers(Speaker(label="Nobody")), Invalid),
    ):
        with pytest.raises(error):
            await library.revise(ANNA, said.transcript_id, edit, None)
    assert await stored(library, said) == before and len(await history(library, said)) == 1


def test_a_vault_of_the_first_release_is_brought_up_to_date() -> None:
    """Which transcripts were remembered is read off their passages."""
    db = sqlcipher.connect(":memory:", b"\x01" * 32)
    sqlcipher.migrate(db, STEPS[:1])
    for name, words in (("rec_1", "said"), ("rec_2", "between us"), ("rec_3", "")):
        db.execute(
            "INSERT INTO transcript (transcript_id, status, document, summary, title, text, created_at)"
            " VALUES (?, 'completed', '{}', '{}', 't', ?, '2026')",
            (name, words),
        )
    db.execute(
        "INSERT INTO memory (memory_id, content, memory_type, occurred_at, created_at, updated_at, transcript_id)"
        " VALUES ('mem_1', 'said', 'transcript', '2026', '2026', '2026', 'rec_1')"
    )
    sqlcipher.migrate(db, STEPS)
    rows = db.execute("SELECT remembered, revised FROM transcript ORDER BY transcript_id").fetchall()
    assert [tuple(row) for row in rows] == [(1, 0), (0, 0), (1, 0)]


WORDS = st.text(alphabet="ab c", max_size=12)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(1, 3), WORDS), min_size=1, max_size=6))
async def test_reverting_step_by_step_gives_every_document_to_the_byte(
    library: Library, changes: list[tuple[int, str]]
) -> None:
    said = transcript((A, "one two"), (B, "three four"), (A, "five six"))
    await library.put_transcript(ANNA, said)
    states = [await stored(library, said)]
    for which, words in changes:
        states.append(await library.revise(ANNA, said.transcript_id, text(f"seg_{which:05d}", words.strip()), None))
    for state in reversed(states):
        back = await library.revert(ANNA, said.transcript_id, state.revision, None)
        assert back.model_copy(update={"revision": state.revision}).model_dump_json() == state.model_dump_json()
