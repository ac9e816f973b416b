"""The index of a vault: built in the background, written into the vault, read, brought up to date, made anew."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import asyncpg
import numpy as np
import pytest
from pydantic import SecretStr

from services.rag import repository
from services.rag.app import create_app
from services.rag.engines import Vectors
from services.rag.engines.fake import FakeEmbedder
from services.rag.index import image, kept
from services.rag.index.flat import FlatIndex
from services.rag.index.graph import GraphIndex
from services.rag.index.kept import FaissIndex
from services.rag.index.pgvector import VectorTable
from services.rag.repository import Chunk
from services.rag.service import Library
from services.rag.settings import Settings
from services.rag.vaults import Vault, Vaults
from shared.auth.service_tokens import ServiceIdentity
from shared.clients.gpu_coordinator import CoordinatorClient
from shared.errors import DiskFull, StorageFailed
from shared.schemas.ids import new_id
from shared.schemas.rag import Memory, NewMemory, SearchRequest
from shared.storage import postgres
from shared.storage.keyring import MemoryKeyring
from shared.storage.sqlcipher import transaction

ROOT = Path(__file__).resolve().parents[2]
ANNA, BEN = "usr_anna", "usr_ben"
DIMENSIONS = 32
KEY = b"\x05" * 32


def some(count: int, seed: int = 0) -> Vectors:
    made = np.random.default_rng(seed).normal(size=(count, DIMENSIONS))
    return np.ascontiguousarray(made / np.linalg.norm(made, axis=1, keepdims=True), dtype=np.float32)


def memory(text: str = "A memory.") -> Memory:
    at = 1_700_000_000.0
    moments = dict.fromkeys(("occurred_at", "created_at", "updated_at"), at)
    return Memory.model_validate(
        {"memory_id": new_id("mem"), "content": text, "memory_type": "note", "revision": 1} | moments
    )


def fill(vault: Vault, vectors: Vectors) -> list[str]:
    """One memory a vector, in one transaction; answers their ids. What is in memory follows."""
    made = [memory() for _ in vectors]
    with transaction(vault.db):
        ids = [
            repository.insert_memory(vault, each, [Chunk(each.content)], vector[None, :])[0]
            for each, vector in zip(made, vectors, strict=True)
        ]
    vault.follow([], ids, vectors)
    return [each.memory_id for each in made]


def opened(path: Path, most: int = 200) -> Vault:
    return Vault(path, KEY, "model", DIMENSIONS, lambda source, lock: FaissIndex(source, lock, most))


@pytest.fixture
def vault(tmp_path: Path) -> Any:
    """Of 500 memories with a graph that was built and written down."""
    made = opened(tmp_path / "anna.db")
    fill(made, some(500))
    assert len(made.index) == 500 and made.kept.due
    made.kept.tend()
    yield made
    made.close()


def graph_of(vault: Vault) -> GraphIndex:
    index = vault.index
    assert isinstance(index, GraphIndex)
    return index


def built_anew(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the batches read from the vault from now on: an index from its image reads none."""
    read: list[int] = []
    after = kept.VectorSource.after

    def told(self: Any, chunk_id: int, limit: int) -> Any:
        found = after(self, chunk_id, limit)
        read.append(len(found[0]))
        return found

    monkeypatch.setattr(kept.VectorSource, "after", told)
    return read


def nearest(vault: Vault, vector: Vectors) -> int:
    return vault.index.search(vector, 1)[0][0]


def test_few_vectors_are_compared_one_by_one(tmp_path: Path) -> None:
    vault = opened(tmp_path / "anna.db")
    fill(vault, some(200))
    assert isinstance(vault.index, FlatIndex) and len(vault.index) == 200 and not vault.kept.due
    vault.close()


def test_a_graph_is_built_while_codes_serve_and_is_read_from_its_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault = opened(tmp_path / "anna.db")
    vectors = some(500)
    fill(vault, vectors)
    assert not graph_of(vault).linked and vault.kept.due
    assert [nearest(vault, each) for each in vectors[:20]] == list(range(1, 21))
    vault.kept.tend()
    assert graph_of(vault).linked and not vault.kept.due
    assert [nearest(vault, each) for each in vectors[:20]] == list(range(1, 21))
    vault.close()
    again, read = opened(tmp_path / "anna.db"), built_anew(monkeypatch)
    assert graph_of(again).linked and len(again.index) == 500 and not read
    assert [nearest(again, each) for each in vectors[:20]] == list(range(1, 21))
    again.close()


def test_what_came_and_went_while_it_was_built_is_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vault = opened(tmp_path / "anna.db")
    names = fill(vault, some(500))
    late = some(3, seed=9)
    assert len(vault.index) == 500
    add, begun = GraphIndex.add, threading.Event()

    def meanwhile(self: GraphIndex, ids: Any, vectors: Vectors) -> None:
        if self.linked and not begun.is_set():
            begun.set()
            with vault.lock:  # the user's turn: nobody who builds holds it
                fill(vault, late)
                repository.delete_memory(vault, names[0], None)
                assert nearest(vault, late[0]) == 501, "who searches meanwhile finds it"
        add(self, ids, vectors)

    monkeypatch.setattr(GraphIndex, "add", meanwhile)
    vault.kept.tend()
    assert begun.is_set() and graph_of(vault).linked and len(vault.index) == 502
    assert [nearest(vault, each) for each in late] == [501, 502, 503]
    assert 1 not in vault.index.ids()
    vault.close()


def test_an_image_that_is_a_little_behind_is_brought_up_to_date(
    vault: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [row[0] for row in vault.db.execute("SELECT memory_id FROM memory ORDER BY memory_id")]
    vault.forget_index()  # nobody follows
    late = some(2, seed=3)
    fill(vault, late)
    repository.delete_memory(vault, names[7], None)
    read = built_anew(monkeypatch)
    assert graph_of(vault).linked and len(vault.index) == 501 and not read
    assert nearest(vault, late[1]) == 502 and 8 not in vault.index.ids()


def test_an_image_far_behind_is_built_anew(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "SAVE_AFTER", 10)
    vault.forget_index()
    fill(vault, some(50, seed=3))
    assert not graph_of(vault).linked and len(vault.index) == 550 and vault.kept.due
    vault.kept.tend()
    assert graph_of(vault).linked


DAMAGE: list[tuple[str, str]] = [
    ("a piece is changed", "UPDATE index_piece SET data = zeroblob(length(data)) WHERE number = 3"),
    ("a piece is gone", "DELETE FROM index_piece WHERE number = 2"),
    ("a piece is longer", "UPDATE index_piece SET data = data || x'00' WHERE number = 1"),
    ("the stamp is no JSON", "UPDATE index_image SET stamp = 'x'"),
    ("the stamp lacks a field", "UPDATE index_image SET stamp = '{}'"),
    ("the stamp lies about sizes", "UPDATE index_image SET stamp = json_set(stamp, '$.sizes', json('[1, 2, 3]'))"),
]


@pytest.mark.parametrize("sql", [sql for _, sql in DAMAGE], ids=[name for name, _ in DAMAGE])
def test_a_damaged_image_is_made_anew(vault: Vault, sql: str) -> None:
    vault.forget_index()
    vault.db.execute(sql)
    assert not graph_of(vault).linked and nearest(vault, some(500)[4]) == 5
    vault.kept.tend()
    vault.forget_index()
    assert graph_of(vault).linked, "the new image is whole"


@pytest.mark.parametrize("change", [("version", "0"), ("model", '"older"')])
def test_an_image_of_another_version_or_model_is_not_used(vault: Vault, change: tuple[str, str]) -> None:
    vault.forget_index()
    vault.db.execute(f"UPDATE index_image SET stamp = json_set(stamp, '$.{change[0]}', json('{change[1]}'))")
    assert not graph_of(vault).linked


def test_many_removals_lead_to_a_new_graph_and_few_left_to_an_exact_one(vault: Vault) -> None:
    names = [row[0] for row in vault.db.execute("SELECT memory_id FROM memory ORDER BY memory_id")]
    for each in names[:150]:
        repository.delete_memory(vault, each, None)
    assert graph_of(vault).dead_share > 0.2 and vault.kept.due
    vault.kept.tend()
    assert graph_of(vault).dead_share == 0 and len(vault.index) == 350
    for each in names[150:350]:
        repository.delete_memory(vault, each, None)
    vault.kept.tend()
    assert isinstance(vault.index, FlatIndex) and len(vault.index) == 150
    assert vault.db.execute("SELECT count(*) FROM index_piece").fetchone()[0] == 0


def test_closing_writes_down_what_was_removed(vault: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = graph_of(vault)._codes()[9].tobytes()
    pieces = b"".join(row[0] for row in vault.db.execute("SELECT data FROM index_piece ORDER BY number"))
    assert gone in pieces
    name = vault.db.execute("SELECT memory_id FROM chunk WHERE chunk_id = 10").fetchone()[0]
    repository.delete_memory(vault, name, None)
    assert gone not in graph_of(vault)._codes().tobytes()
    vault.close()
    again, read = opened(tmp_path / "anna.db"), built_anew(monkeypatch)
    pieces = b"".join(row[0] for row in again.db.execute("SELECT data FROM index_piece ORDER BY number"))
    assert gone not in pieces
    assert graph_of(again).linked and len(again.index) == 499 and not read
    again.close()


def test_a_cleared_vault_has_no_image_and_embedding_anew_takes_it_away(vault: Vault) -> None:
    repository.reindex(vault, {1: Chunk("A memory.")}, some(1, seed=4))
    assert image.stamp_of(vault.db, "model") is None
    vault.clear_index()
    assert nearest(vault, some(1, seed=4)[0]) == 1
    vault.kept.tend()
    assert image.stamp_of(vault.db, "model") is not None
    repository.clear(vault)
    assert vault.db.execute("SELECT count(*) FROM index_image").fetchone()[0] == 0
    assert vault.db.execute("SELECT count(*) FROM index_piece").fetchone()[0] == 0
    assert len(vault.index) == 0


def test_an_image_of_vectors_exchanged_while_it_was_written_does_not_count(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image, "PIECE_BYTES", 4096)
    monkeypatch.setattr(kept, "SAVE_AFTER", 1)
    fill(vault, some(20, seed=6))
    assert vault.kept.due
    written = 0

    def slowly(views: Any, pieces: Callable[[Any], Any] = image._pieces) -> Any:
        nonlocal written
        for each in pieces(views):
            written += 1
            if written == 3:
                with vault.lock:
                    repository.reindex(vault, {1: Chunk("A memory.")}, some(1, seed=4))
            yield each

    monkeypatch.setattr(image, "_pieces", slowly)
    vault.kept.tend()
    assert written > 3 and image.stamp_of(vault.db, "model") is None
    assert vault.db.execute("SELECT count(*) FROM index_piece").fetchone()[0] == 0, "nothing is left behind"


def test_a_full_disk_while_writing_costs_the_image_only(
    vault: Vault, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(kept, "SAVE_AFTER", 1)
    before = image.stamp_of(vault.db, "model")
    pages = vault.db.execute("PRAGMA page_count").fetchone()[0]
    fill(vault, some(10, seed=6))
    vault.db.execute(f"PRAGMA max_page_count = {pages + 4}")
    vault.kept.tend()
    assert "could not be built or written" in caplog.text and DiskFull.__name__ in caplog.text
    assert image.stamp_of(vault.db, "model") == before and not vault.kept.due, "not tried again and again"
    assert nearest(vault, some(10, seed=6)[0]) == 501
    vault.db.execute("PRAGMA max_page_count = 1000000")


WRITER = """
import sys
from tests.integration import test_kept_index as house
from services.rag.index import image, kept
image.PIECE_BYTES, kept.SAVE_AFTER = 2048, 1
vault = house.opened(house.Path(sys.argv[1]))
house.fill(vault, house.some(2, seed=6))
len(vault.index)
house.fill(vault, house.some(3, seed=7))
pieces = image._pieces
def slowly(views):
    for number, each in enumerate(pieces(views)):
        if number == 5:
            print("five pieces", flush=True)
            sys.stdin.readline()
        yield each
image._pieces = slowly
vault.kept.tend()
"""


def test_killed_in_the_middle_of_writing_the_earlier_image_stands(vault: Vault, tmp_path: Path) -> None:
    vault.close()
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / "anna.db")],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert writer.stdout is not None and writer.stdout.readline() == b"five pieces\n"
    writer.send_signal(signal.SIGKILL)
    writer.communicate()
    again = opened(tmp_path / "anna.db")
    assert again.db.execute("SELECT count(DISTINCT image_id) FROM index_piece").fetchone()[0] == 2
    assert graph_of(again).linked and len(again.index) == 505
    assert nearest(again, some(3, seed=7)[2]) == 505
    again.kept._added = 10_000  # type: ignore[attr-defined]
    again.kept.tend()
    assert again.db.execute("SELECT count(DISTINCT image_id) FROM index_piece").fetchone()[0] == 1, "swept"
    again.close()


def test_nothing_of_an_image_is_in_the_clear(vault: Vault, tmp_path: Path) -> None:
    codes, ids = graph_of(vault)._codes()[:4].tobytes(), graph_of(vault)._ids[:4].tobytes()
    vault.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for each in tmp_path.iterdir():
        raw = each.read_bytes()
        assert codes not in raw and ids not in raw and b"IHNs" not in raw and b"IxSQ" not in raw


@pytest.fixture
async def vaults(tmp_path: Path) -> AsyncIterator[Vaults]:
    settings = Settings(data_dir=tmp_path, index_exact_most=200, open_vaults=8)
    made = Vaults(settings, MemoryKeyring(), model="model", dimensions=DIMENSIONS)
    yield made
    await made.close()


async def tended(vaults: Vaults, user: str) -> None:
    while await vaults.run(user, lambda vault: vault.tended or vault.kept.due):
        await asyncio.sleep(0.02)


async def test_a_large_vault_gets_its_graph_by_itself(vaults: Vaults, tmp_path: Path) -> None:
    await vaults.run(ANNA, lambda vault: fill(vault, some(500)))
    await vaults.run(ANNA, lambda vault: len(vault.index))
    await tended(vaults, ANNA)
    assert await vaults.run(ANNA, lambda vault: graph_of(vault).linked)
    await vaults.run(BEN, lambda vault: fill(vault, some(20)))
    assert await vaults.run(BEN, lambda vault: isinstance(vault.index, FlatIndex))


async def test_a_vault_is_not_closed_for_room_while_its_graph_is_built(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, index_exact_most=200, open_vaults=1)
    vaults = Vaults(settings, MemoryKeyring(), model="model", dimensions=DIMENSIONS)
    first = await vaults.run(ANNA, lambda vault: vault)
    first.tended = True
    await vaults.run(BEN, lambda vault: len(vault.index))
    assert await vaults.run(ANNA, lambda vault: vault) is first
    first.tended = False
    await vaults.run(BEN, lambda vault: len(vault.index))
    assert await vaults.run(ANNA, lambda vault: vault) is not first
    await vaults.close()


async def test_deleting_a_user_ends_the_building(
    vaults: Vaults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go = threading.Event(), threading.Event()
    add = GraphIndex.add

    def held(self: GraphIndex, ids: Any, vectors: Vectors) -> None:
        if self.linked:
            begun.set()
            assert go.wait(30)
        add(self, ids, vectors)

    monkeypatch.setattr(GraphIndex, "add", held)
    await vaults.run(ANNA, lambda vault: fill(vault, some(500)))
    await vaults.run(ANNA, lambda vault: len(vault.index))
    assert await asyncio.to_thread(begun.wait, 30)
    assert await vaults.run(ANNA, lambda vault: nearest(vault, some(500)[3])) == 4, "searched meanwhile"
    await vaults.delete(ANNA)
    go.set()
    assert not list((tmp_path / "vaults").iterdir())


async def test_bytes_are_bounded_by_what_graphs_really_take(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, index_exact_most=200, index_bytes=400_000)
    vaults = Vaults(settings, MemoryKeyring(), model="model", dimensions=DIMENSIONS)
    users = [f"usr_{n}" for n in range(5)]
    for user in users:
        await vaults.run(user, lambda vault: fill(vault, some(500)))
        await vaults.run(user, lambda vault: len(vault.index))
        await tended(vaults, user)
        one = await vaults.run(user, lambda vault: vault.index_bytes)
        image_bytes = await vaults.run(user, lambda vault: sum(image.stamp_of(vault.db, "model").sizes))  # type: ignore[union-attr]
        assert 0.9 < one / image_bytes < 1.3, "what is counted is what is there"
    held = [seat.vault.index_bytes for seat in vaults._seats.values() if seat.vault is not None]
    assert sum(held) <= 400_000 and 1 <= len(held) < 5
    assert await vaults.run(users[0], lambda vault: nearest(vault, some(500)[3])) == 4, "a closed one is read again"
    await vaults.close()


async def test_vectors_in_postgres_follow_the_vault(tmp_path: Path, postgres_url: str) -> None:
    pool = await postgres.connect(postgres_url)
    table = VectorTable(pool)
    await table.prepare()
    vaults = Vaults(Settings(data_dir=tmp_path), MemoryKeyring(), model="model", dimensions=DIMENSIONS, table=table)
    vectors = some(30)

    async def there(user: str) -> int:
        return int(await pool.fetchval("SELECT count(*) FROM rag_vector WHERE owner = $1", user))

    names = await vaults.run(ANNA, lambda vault: fill(vault, vectors))
    await vaults.run(BEN, lambda vault: fill(vault, vectors[:3]))
    assert (await there(ANNA), await there(BEN)) == (30, 3)
    await vaults.run(ANNA, lambda vault: repository.delete_memory(vault, names[4], None))
    assert await there(ANNA) == 29
    assert await vaults.run(ANNA, lambda vault: nearest(vault, vectors[9])) == 10
    await pool.execute("DELETE FROM rag_vector WHERE chunk_id > 20")  # an old backup came back, say
    await vaults.run(ANNA, Vault.forget_index)
    assert await vaults.run(ANNA, lambda vault: nearest(vault, vectors[29])) == 30 and await there(ANNA) == 29
    await vaults.run(ANNA, repository.clear)
    assert (await there(ANNA), await there(BEN)) == (0, 3)
    await vaults.delete(BEN)
    assert await there(BEN) == 0
    await vaults.close()
    await pool.close()


async def test_postgres_away_costs_the_search_and_no_memory(tmp_path: Path, postgres_url: str) -> None:
    pool = await postgres.connect(postgres_url)
    table = VectorTable(pool)
    await table.prepare()
    vaults = Vaults(Settings(data_dir=tmp_path), MemoryKeyring(), model="model", dimensions=DIMENSIONS, table=table)
    await pool.execute("ALTER TABLE rag_vector RENAME TO away")
    names = await vaults.run(ANNA, lambda vault: fill(vault, some(3)))
    assert len(names) == 3, "what was said is kept"
    with pytest.raises(StorageFailed):
        await vaults.run(ANNA, lambda vault: nearest(vault, some(3)[0]))
    await pool.execute("ALTER TABLE away RENAME TO rag_vector")
    assert await vaults.run(ANNA, lambda vault: nearest(vault, some(3)[0])) == 1
    await vaults.close()
    await pool.close()


async def test_the_service_keeps_vectors_in_postgres_where_it_is_told_to(
    tmp_path: Path, postgres_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(data_dir=tmp_path, engine="fake", index="pgvector", database_url=SecretStr(postgres_url))
    with pytest.warns(UserWarning, match="no meaning"):
        engine = FakeEmbedder(settings)
    identity = ServiceIdentity.ephemeral()["rag"]
    unused = CoordinatorClient(settings, identity)
    app = create_app(settings, keyring=MemoryKeyring(), embedder=engine, coordinator=unused)
    app.state.door, app.state.identity = object(), identity
    connection = await asyncpg.connect(postgres_url)
    async with app.router.lifespan_context(app):
        assert "without the users' keys" in "".join(capfd.readouterr()), "the operator is told"
        library: Library = app.state.library
        await library.remember(ANNA, NewMemory(content="The canary sings in the cellar."))
        hits = await library.search(ANNA, SearchRequest(query="canary cellar"))
        assert [hit.content for hit in hits] == ["The canary sings in the cellar."]
        rows = await connection.fetch("SELECT * FROM rag_vector")
        assert len(rows) == 1 and rows[0]["owner"] == ANNA and "canary" not in str(rows)
        await library.delete_owner(ANNA)
        assert not await connection.fetch("SELECT * FROM rag_vector")
    await connection.close()
