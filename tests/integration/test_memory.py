"""The memory of users: real SQLCipher vaults, real MiniLM vectors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from services.rag import repository, search, transcripts
from services.rag.engines.onnx_minilm import OnnxMiniLM
from services.rag.service import REBUILD, Library
from services.rag.settings import Settings
from services.rag.vaults import Vault, Vaults
from shared.errors import NotFound, PreconditionFailed, StorageFailed
from shared.schemas.ids import new_id
from shared.schemas.rag import EditMemory, NewMemory, SearchRequest
from shared.schemas.transcription import EditTranscript, Segment, SpanEmotion, Speaker, Transcript
from shared.storage.keyring import MemoryKeyring

ANNA, BEN = "usr_anna", "usr_ben"


@pytest.fixture(scope="session")
def embedder(models_dir: Path) -> OnnxMiniLM:
    return OnnxMiniLM(Settings(models_dir=models_dir))


@pytest.fixture
async def vaults(tmp_path: Path, embedder: OnnxMiniLM) -> AsyncIterator[Vaults]:
    facts = embedder.capabilities
    settings = Settings(data_dir=tmp_path, open_vaults=2)
    opened = Vaults(settings, MemoryKeyring(), model=facts.model, dimensions=facts.dimensions)
    yield opened
    await opened.close()


@pytest.fixture
def library(vaults: Vaults, embedder: OnnxMiniLM, tmp_path: Path) -> Library:
    return Library(vaults, embedder, Settings(data_dir=tmp_path))


async def found(library: Library, query: str, user: str = ANNA, **more: Any) -> list[str]:
    hits = await library.search(user, SearchRequest.model_validate({"query": query, "top_k": 10, **more}))
    return [hit.content for hit in hits]


def transcript(*segments: tuple[str, str], title: str = "Call", speakers: list[Speaker] | None = None) -> Transcript:
    labels = dict.fromkeys(label for label, _ in segments)
    return Transcript(
        transcript_id=new_id("rec"),
        status="completed",
        title=title,
        text=" ".join(text for _, text in segments),
        created_at=datetime.now(UTC),
        speakers=speakers or [Speaker(label=label) for label in labels],
        segments=[
            Segment(
                segment_id=f"seg_{n:05d}",
                start_s=10.0 * n,
                end_s=10.0 * n + 8,
                speaker=label,
                text=text,
                confidence=0.9,
                emotion=SpanEmotion(label="joy", score=0.8),
            )
            for n, (label, text) in enumerate(segments, 1)
        ],
    )


async def test_a_memory_is_found_by_its_meaning_and_comes_back_as_it_was_said(library: Library) -> None:
    saved = await library.remember(
        ANNA, NewMemory(content="The spare key lies under the blue flower pot.", title="Keys")
    )
    await library.remember(ANNA, NewMemory(content="Dentist on Thursday at four."))
    hits = await library.search(ANNA, SearchRequest(query="how do I get into the house", top_k=2))
    assert hits[0].content == saved.content and hits[0].metadata.memory_id == saved.memory_id
    assert hits[0].metadata.title == "Keys" and 0.1 < (hits[0].metadata.similarity or 0) <= 1


async def test_a_title_is_found_by_its_words_and_is_no_part_of_the_passage(library: Library) -> None:
    await library.remember(ANNA, NewMemory(content="Two parts flour, one part water.", title="Grandmother's dumplings"))
    assert await found(library, "dumplings", mode="text") == ["Two parts flour, one part water."]


async def test_what_only_words_found_has_its_cosine_too(library: Library) -> None:
    for n in range(60):
        await library.remember(
            ANNA, NewMemory(content=f"We walked along the river on day {n} and spoke of the garden.")
        )
    await library.remember(ANNA, NewMemory(content="Invoice XK-4711 was paid."))
    hits = await library.search(ANNA, SearchRequest(query="river garden walk XK", top_k=1, mode="hybrid"))
    more = await library.search(ANNA, SearchRequest(query="river garden walk XK", top_k=50))
    assert all(hit.metadata.similarity is not None for hit in [*hits, *more])
    assert "Invoice XK-4711 was paid." in [hit.content for hit in more]
    worded = await library.search(ANNA, SearchRequest(query="XK", mode="text"))
    assert [hit.metadata.similarity for hit in worded] == [None]


async def test_edits_change_what_is_found(library: Library) -> None:
    saved = await library.remember(ANNA, NewMemory(content="Water the tomatoes every evening.", title="Garden"))
    changed = await library.edit(ANNA, saved.memory_id, EditMemory(title="Balcony"), saved.revision)
    assert (changed.title, changed.content, changed.revision) == ("Balcony", saved.content, 2)
    assert await found(library, "balcony", mode="text") and not await found(library, "garden", mode="text")
    bare = await library.edit(ANNA, saved.memory_id, EditMemory.model_validate({"title": None}), None)
    assert bare.title is None and not await found(library, "balcony", mode="text")
    await library.edit(ANNA, saved.memory_id, EditMemory(content="The cat is called Minka."), None)
    assert await found(library, "name of the pet") == ["The cat is called Minka."]
    with pytest.raises(PreconditionFailed):
        await library.edit(ANNA, saved.memory_id, EditMemory(content="Late."), 1)
    tagged = await library.edit(ANNA, saved.memory_id, EditMemory(tags=["home"]), None)
    assert tagged.content == "The cat is called Minka." and tagged.tags == ["home"]


async def test_edits_at_once_are_all_made(library: Library) -> None:
    saved = await library.remember(ANNA, NewMemory(content="Version zero."))
    edits = (library.edit(ANNA, saved.memory_id, EditMemory(content=f"Version {n}."), None) for n in range(8))
    await asyncio.gather(*edits)
    last = await library.run(ANNA, lambda vault: repository.get_memory(vault, saved.memory_id))
    assert last.revision == 9
    assert await found(library, "version") == [last.content]


async def test_what_is_deleted_is_gone_from_words_vectors_and_file(library: Library, tmp_path: Path) -> None:
    saved = await library.remember(ANNA, NewMemory(content="The password of the safe is rhubarb."))
    await library.run(ANNA, lambda vault: repository.delete_memory(vault, saved.memory_id, None))
    assert not await found(library, "rhubarb") and not await found(library, "rhubarb", mode="text")
    with pytest.raises(NotFound):
        await library.run(ANNA, lambda vault: repository.get_memory(vault, saved.memory_id))


async def test_nobody_finds_what_is_another_users(library: Library) -> None:
    saved = await library.remember(ANNA, NewMemory(content="Anna likes hazelnut ice cream."))
    for mode in ("hybrid", "vector", "text"):
        assert not await found(library, "hazelnut ice cream", user=BEN, mode=mode)
    with pytest.raises(NotFound):
        await library.edit(BEN, saved.memory_id, EditMemory(content="Ben was here."), None)


async def test_nothing_can_be_read_in_the_files_without_the_key(library: Library, tmp_path: Path) -> None:
    await library.remember(ANNA, NewMemory(content="hazelnut pistachio stracciatella", title="amarena"))
    files = list((tmp_path / "vaults").iterdir())
    assert files
    for each in files:
        assert each.stat().st_mode & 0o077 == 0
        raw = each.read_bytes()
        assert not any(word in raw for word in (b"hazelnut", b"pistachio", b"amarena", b"SQLite format"))
    vault = tmp_path / "vaults" / f"{ANNA}.db"
    with pytest.raises(StorageFailed):
        Vault(vault, b"\x07" * 32, "model", 384)


async def test_filters_are_applied_before_ranking(library: Library) -> None:
    day = datetime(2026, 3, 1, tzinfo=UTC)
    for n in range(30):
        new = NewMemory(content=f"Meeting {n} about the budget.", tags=["work"], occurred_at=day + timedelta(days=n))
        await library.remember(ANNA, new)
    await library.remember(ANNA, NewMemory(content="My private budget.", tags=["home"], memory_type="diary"))
    assert await found(library, "budget meeting", tags=["home"]) == ["My private budget."]
    assert await found(library, "budget meeting", types=["diary"]) == ["My private budget."]
    early = await found(library, "budget", **{"from": "2026-03-02T00:00:00Z", "to": "2026-03-04T02:00:00+02:00"})
    assert sorted(early) == ["Meeting 1 about the budget.", "Meeting 2 about the budget."]
    assert len(await found(library, "budget", tags=[], types=[], speakers=[])) == 10
    assert not await found(library, "budget", tags=["nowhere"])


async def test_a_speaker_is_found_by_name_id_or_label_in_any_case(library: Library) -> None:
    speakers = [
        Speaker(label="Speaker 1", speaker_id="spk_1", name="Zoë Ångström", method="manual"),
        Speaker(label="Speaker 2"),
    ]
    said = transcript(
        ("Speaker 1", "I will bring the ladder."), ("Speaker 2", "The ladder is broken."), speakers=speakers
    )
    await library.put_transcript(ANNA, said)
    for key in ("zoë ångström", "ZOË ÅNGSTRÖM", "spk_1", "speaker 1"):
        assert await found(library, "ladder", speakers=[key]) == ["I will bring the ladder."], key
    assert await found(library, "ladder", speakers=["Speaker 2"]) == ["The ladder is broken."]


async def test_a_transcript_is_listed_found_renamed_and_removed(library: Library) -> None:
    said = transcript(("Speaker 1", "The ÜBERGABE of the flat is on Monday."), title="Flat")
    await library.put_transcript(ANNA, said)
    await library.put_transcript(ANNA, transcript(("Speaker 1", "Nothing of note."), title="Other"))
    by = {"q": "übergabe", "speaker": "SPEAKER 1", "emotion": "joy"}
    page = await library.run(ANNA, lambda vault: transcripts.page(vault, 10, None, by))
    assert [(each.transcript_id, each.preview) for each in page] == [(said.transcript_id, said.text)]
    rename = EditTranscript(title="Handover", tags=["flat"])
    await library.run(ANNA, lambda vault: transcripts.edit(vault, said.transcript_id, rename, 1))
    page = await library.run(ANNA, lambda vault: transcripts.page(vault, 10, None, {"tag": "flat"}))
    assert [each.title for each in page] == ["Handover"]
    hits = await library.search(ANNA, SearchRequest(query="handing over the apartment", tags=["flat"]))
    assert (hits[0].metadata.title, hits[0].metadata.start_s, hits[0].metadata.end_s) == ("Handover", 10.0, 18.0)
    again = await library.put_transcript(ANNA, said)
    assert (again.title, again.tags) == ("Handover", ["flat"]), "what a user changed stays when it is made anew"
    await library.run(ANNA, lambda vault: transcripts.delete(vault, said.transcript_id, None))
    assert "The ÜBERGABE of the flat is on Monday." not in await found(library, "übergabe")


async def test_what_is_stored_early_is_found_but_not_listed_and_then_replaced(library: Library) -> None:
    early = transcript(("SPEAKER_00", "The boiler needs a new valve.")).model_copy(update={"status": "processing"})
    await library.put_transcript(ANNA, early)
    assert await found(library, "boiler valve") == ["The boiler needs a new valve."]
    assert not await library.run(ANNA, lambda vault: transcripts.page(vault, 10, None, {}))
    whole = transcript(("SPEAKER_00", "The boiler needs"), ("SPEAKER_01", "a new valve."), title="Plumber")
    whole = whole.model_copy(update={"transcript_id": early.transcript_id})
    stored = await library.put_transcript(ANNA, whole)
    assert (stored.title, stored.revision) == ("Plumber", 2), "nobody edited it, so it takes the new title"
    assert sorted(await found(library, "boiler valve")) == ["The boiler needs", "a new valve."]
    assert len(await library.run(ANNA, lambda vault: transcripts.page(vault, 10, None, {}))) == 1


async def test_what_is_stored_early_replaces_no_whole_one(library: Library) -> None:
    """A stage that is done again, or a worker that comes late."""
    whole = transcript(("SPEAKER_00", "The boiler needs a new valve."))
    await library.put_transcript(ANNA, whole)
    early = transcript(("SPEAKER_00", "The boy learns")).model_copy(
        update={"transcript_id": whole.transcript_id, "status": "processing"}
    )
    assert await library.put_transcript(ANNA, early) == whole
    kept = await library.run(ANNA, lambda vault: transcripts.get(vault, whole.transcript_id))
    assert kept == whole and await found(library, "boiler valve", mode="text")
    assert len(await library.run(ANNA, lambda vault: transcripts.page(vault, 10, None, {}))) == 1


async def test_what_is_not_to_be_remembered_is_read_but_not_found(library: Library) -> None:
    said = transcript(("Speaker 1", "This is between us."))
    await library.put_transcript(ANNA, said, remember=False)
    assert not await found(library, "between us")
    assert (await library.run(ANNA, lambda vault: transcripts.get(vault, said.transcript_id))).text == said.text


async def test_many_users_with_few_open_vaults_lose_nothing(library: Library) -> None:
    users = [f"usr_{n}" for n in range(6)]
    await asyncio.gather(
        *(library.remember(user, NewMemory(content=f"Secret {n} of {user}.")) for n in range(10) for user in users)
    )
    for user in users:
        assert len(await found(library, "secret", user=user)) == 10
        assert all(user in each for each in await found(library, "secret", user=user))


async def test_vectors_of_another_model_are_rebuilt(library: Library, vaults: Vaults) -> None:
    await library.remember(ANNA, NewMemory(content="The bicycle is in the cellar.", title="Bike"))

    def age(vault: Vault) -> None:
        vault.db.execute("UPDATE chunk SET model = 'older', vector = zeroblob(12)")
        vault.forget_index()

    await library.run(ANNA, age)
    assert await found(library, "bicycle", mode="text"), "words find it meanwhile"
    assert not await found(library, "where is my two-wheeler", mode="vector")
    steps: list[str] = []

    async def progress(stage: str, percent: float, cursor: Any = None) -> None:
        steps.append(stage)

    task = SimpleNamespace(payload={"user_id": ANNA}, cursor=None, kind=REBUILD)
    assert await library.rebuild(SimpleNamespace(task=task, progress=progress)) == {"passages": 1}  # type: ignore[arg-type]
    assert steps and await found(library, "where is my two-wheeler", mode="vector") == ["The bicycle is in the cellar."]


async def test_a_cleared_vault_is_empty_and_usable(library: Library) -> None:
    await library.remember(ANNA, NewMemory(content="Forget me."))
    await library.run(ANNA, repository.clear)
    assert not await found(library, "forget") and not await found(library, "forget", mode="vector")
    await library.remember(ANNA, NewMemory(content="Begin anew."))
    assert await found(library, "new start") == ["Begin anew."]


async def test_a_deleted_owner_leaves_no_file(library: Library, tmp_path: Path) -> None:
    await library.remember(ANNA, NewMemory(content="Soon gone."))
    await library.delete_owner(ANNA)
    assert not list((tmp_path / "vaults").glob(f"{ANNA}*"))


async def test_what_is_asked_again_is_not_searched_again_until_something_changes(
    library: Library, vaults: Vaults, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded, searched = [], []
    embed, search_ = library.embed, search.search
    saved = await library.remember(ANNA, NewMemory(content="The spare key lies under the flower pot."))

    async def embed_told(texts: Any) -> Any:
        embedded.append(texts)
        return await embed(texts)

    monkeypatch.setattr(library, "embed", embed_told)
    monkeypatch.setattr(search, "search", lambda *given: searched.append(1) or search_(*given))
    first = await found(library, "where is the key")
    assert await found(library, "where is the key") == first and (len(embedded), len(searched)) == (1, 1)
    assert await found(library, "where is the key", user=BEN) == [], "nobody is given another one's answer"
    await library.run(ANNA, lambda vault: repository.delete_memory(vault, saved.memory_id, None))
    assert await found(library, "where is the key") == []
    assert (len(embedded), len(searched)) == (2, 3), "the vault changed, the question did not"
    for user in ("usr_carl", "usr_dora"):  # two vaults are kept open here
        await found(library, "anything", user=user)
    await library.remember(ANNA, NewMemory(content="The key is with the neighbour."))
    embedded.clear()
    await found(library, "where is the key")
    assert embedded == [["where is the key"]], "forgotten with the vault"
