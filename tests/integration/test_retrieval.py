"""Finding the turn that answers, in real vaults with real vectors."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from services.rag import search
from services.rag.engines.onnx_minilm import OnnxMiniLM
from services.rag.service import Library
from services.rag.settings import Settings
from services.rag.vaults import Vaults
from shared.schemas.ids import new_id
from shared.schemas.rag import NewMemory, SearchHit, SearchRequest
from shared.schemas.transcription import Segment, Speaker, Transcript
from shared.storage.keyring import MemoryKeyring

ANNA = "usr_anna"
KITCHEN = (
    ("Marta", "We want to keep the window and move the sink."),
    ("Ellis", "That means new pipes under the floor."),
    ("Tom", "What would the kitchen cost us?"),
    ("Ellis", "With oak, eleven thousand four hundred."),
    ("Marta", "Fine, let us sleep over it."),
)
BATHROOM = (
    ("Priya", "We only have the one bathroom."),
    ("Dan", "What would the bathroom cost us?"),
    ("Ellis", "Seven thousand eight hundred."),
    ("Priya", "The towels never dry, we need the rail."),
)


@pytest.fixture
async def library(tmp_path: Path, models_dir: Path) -> AsyncIterator[Library]:
    settings = Settings(data_dir=tmp_path, models_dir=models_dir)
    engine = OnnxMiniLM(settings)
    facts = engine.capabilities
    vaults = Vaults(settings, MemoryKeyring(), model=facts.model, dimensions=facts.dimensions)
    yield Library(vaults, engine, settings)
    await vaults.close()


def transcript(turns: tuple[tuple[str, str], ...], day: int, *, at_once: bool = False) -> Transcript:
    """`at_once`: all turns begin at the same moment, as on two channels."""
    names = {name: f"SPEAKER_{at:02d}" for at, name in enumerate(dict.fromkeys(name for name, _ in turns))}
    return Transcript(
        transcript_id=new_id("rec"),
        status="completed",
        title="Recording",
        text=" ".join(text for _, text in turns),
        created_at=datetime(2026, 3, day, tzinfo=UTC),
        tags=[f"day-{day}"],
        speakers=[Speaker(label=label, name=name) for name, label in names.items()],
        segments=[
            Segment(
                segment_id=f"seg_{at:05d}",
                start_s=0.0 if at_once else 5.0 * at,
                end_s=5.0 * at + 4,
                speaker=names[name],
                text=text,
                confidence=0.9,
            )
            for at, (name, text) in enumerate(turns)
        ],
    )


async def hits(library: Library, query: str, **more: Any) -> list[SearchHit]:
    return await library.search(ANNA, SearchRequest.model_validate({"query": query, "top_k": 20, **more}))


async def found(library: Library, query: str, **more: Any) -> list[str]:
    return [hit.content for hit in await hits(library, query, **more)]


@pytest.fixture
async def two_quotes(library: Library) -> Library:
    await library.put_transcript(ANNA, transcript(KITCHEN, 4))
    await library.put_transcript(ANNA, transcript(BATHROOM, 19))
    await library.remember(ANNA, NewMemory(content="Water the lemon tree on Sundays."))
    return library


async def test_the_answer_comes_before_the_question_that_sounds_like_the_query(two_quotes: Library) -> None:
    assert (await found(two_quotes, "How much does the kitchen cost?"))[0].startswith("With oak, eleven thousand")
    assert (await found(two_quotes, "How much does the bathroom cost?"))[0] == "Seven thousand eight hundred."


async def test_turns_that_begin_at_once_have_an_order_too(library: Library) -> None:
    await library.put_transcript(ANNA, transcript(BATHROOM, 19, at_once=True))
    assert (await found(library, "How much does the bathroom cost?"))[0] == "Seven thousand eight hundred."


async def test_what_stands_beside_a_hit_is_found_only_where_the_filters_let_it(two_quotes: Library) -> None:
    query = "How much does the kitchen cost?"
    spoken = {hit.metadata.speaker for hit in await hits(two_quotes, query, speakers=["Tom", "Dan"])}
    assert spoken == {"Tom", "Dan"}
    assert {hit.metadata.tags[0] for hit in await hits(two_quotes, query, tags=["day-19"])} == {"day-19"}
    until = await hits(two_quotes, query, to="2026-03-10T00:00:00Z", types=["transcript"])
    assert {hit.content for hit in until} == {text for _, text in KITCHEN}
    assert await found(two_quotes, query, types=["note"]) == ["Water the lemon tree on Sundays."]
    assert await found(two_quotes, query, speakers=["Nobody"]) == []


async def test_the_speaker_whom_the_query_names_comes_first(library: Library) -> None:
    turns = (("Ines", "I saw the red car."), ("Marek", "I saw the red car."), ("Ines", "Good."))
    await library.put_transcript(ANNA, transcript(turns, 2))
    first = (await hits(library, "What did Marek say about the red car?"))[0]
    assert first.metadata.speaker == "Marek"


async def test_literal_modes_answer_with_nothing_that_stands_beside(two_quotes: Library) -> None:
    assert await found(two_quotes, "pipes", mode="text") == ["That means new pipes under the floor."]
    nearest = await hits(two_quotes, "pipes", mode="vector", top_k=1)
    assert nearest[0].content == "That means new pipes under the floor."
    assert nearest[0].score == pytest.approx(nearest[0].metadata.similarity, abs=1e-5)


@pytest.mark.parametrize(
    "query", ["?", '"', "the of and", "NEAR(a b) AND OR NOT *", "x" * 4_000, "𝔘𝔫𝔦 😀", "\x00a\x00"]
)
async def test_strange_queries_are_answered(two_quotes: Library, query: str) -> None:
    for mode in ("hybrid", "text", "vector"):
        assert all(hit.content for hit in await hits(two_quotes, query, mode=mode))


async def test_an_empty_vault_finds_nothing(library: Library) -> None:
    assert await found(library, "How much does the kitchen cost?") == []


async def test_what_stands_beside_is_looked_up_in_an_index(library: Library) -> None:
    """Else a search would read whole recordings."""
    sql = f"EXPLAIN QUERY PLAN {search._PLACES}"
    plan = await library.run(ANNA, lambda vault: [str(row[3]) for row in vault.db.execute(sql, ("[1]",)).fetchall()])
    assert sum("memory_place" in step for step in plan) == 3
    assert [step for step in plan if step.startswith("SCAN")] == ["SCAN json_each VIRTUAL TABLE INDEX 1:"]
