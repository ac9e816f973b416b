"""One suite over every backend of the index: exact, coded, graph, and PostgreSQL with pgvector."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest

from services.rag.engines import Vectors
from services.rag.index import VectorIndex, graph
from services.rag.index.flat import FlatIndex
from services.rag.index.graph import GraphIndex
from services.rag.index.pgvector import PgVectorIndex, VectorTable
from shared.storage import postgres

DIMENSIONS = 48
BACKENDS = ["flat", "codes", "graph", "pgvector"]


def some(count: int, seed: int = 0) -> Vectors:
    """Gathered around a few centres, as what people talk about is. float32 [count, DIMENSIONS]."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(40, DIMENSIONS))
    made = centres[rng.integers(0, 40, count)] + 0.6 * rng.normal(size=(count, DIMENSIONS))
    return np.ascontiguousarray(made / np.linalg.norm(made, axis=1, keepdims=True), dtype=np.float32)


class Kept:
    """What a vault does for a graph: it has the full vectors."""

    def __init__(self) -> None:
        self.rows: dict[int, Vectors] = {}

    def of(self, ids: Any) -> tuple[Any, Vectors]:
        there = [int(each) for each in ids if int(each) in self.rows]
        vectors = np.array([self.rows[each] for each in there], dtype=np.float32)
        return np.array(there, dtype=np.int64), vectors.reshape(len(there), DIMENSIONS)


class House:
    """An index and what is in it."""

    def __init__(self, index: VectorIndex, kept: Kept) -> None:
        self.index = index
        self.kept = kept
        self.error = 4e-5 if isinstance(index, GraphIndex) else 1e-5
        """Two bytes for a number; in these few and wide dimensions they tell less than in an embedding's."""

    def add(self, ids: list[int], vectors: Vectors) -> None:
        self.kept.rows |= dict(zip(ids, vectors, strict=True))
        self.index.add(ids, vectors)

    def remove(self, ids: list[int]) -> None:
        for each in ids:
            self.kept.rows.pop(each, None)
        self.index.remove(ids)

    def nearest(self, vector: Vectors, count: int, among: list[int] | None = None) -> list[int]:
        """By comparing all, in plain numpy."""
        here = sorted(self.kept.rows if among is None else self.kept.rows.keys() & set(among))
        if not here:
            return []
        cosines = np.array([self.kept.rows[each] for each in here]) @ vector
        return [here[at] for at in np.argsort(-cosines, kind="stable")[:count]]


@pytest.fixture(params=BACKENDS)
async def house(request: pytest.FixtureRequest, postgres_url: str) -> AsyncIterator[House]:
    kept = Kept()
    if request.param == "pgvector":
        pool = await postgres.connect(postgres_url)
        table = VectorTable(pool)
        await table.prepare()
        yield House(await asyncio.to_thread(PgVectorIndex, table, "usr_anna", "model"), kept)
        await pool.close()
        return
    if request.param == "flat":
        yield House(FlatIndex(DIMENSIONS), kept)
        return
    index = GraphIndex(DIMENSIONS, kept.of, linked=request.param == "graph")
    index.train(some(2000, seed=5))
    yield House(index, kept)


Story = Callable[[House], None]


def empty(house: House) -> None:
    assert len(house.index) == 0 and not len(house.index.ids()) and house.index.bytes >= 0
    assert house.index.search(some(1)[0], 5) == [] and house.index.cosines(some(1)[0], [1, 2]) == {}
    house.index.remove([7])
    house.index.add([], some(0))
    assert len(house.index) == 0


def finds_as_comparing_all_does(house: House) -> None:
    house.add(list(range(1, 3001)), some(3000))
    right = 0
    for query in some(50, seed=1):
        found = house.index.search(query, 10)
        assert [score for _, score in found] == sorted((score for _, score in found), reverse=True)
        for each, score in found:
            assert abs(score - float(house.kept.rows[each] @ query)) < house.error, "scores are exact"
        right += len({each for each, _ in found} & set(house.nearest(query, 10)))
    assert right / 500 >= 0.97


def removed_is_never_found(house: House) -> None:
    vectors = some(1000)
    house.add(list(range(1, 1001)), vectors)
    house.remove([*range(1, 301), 5000])
    assert len(house.index) == 700 and sorted(house.index.ids()) == list(range(301, 1001))
    for query in vectors[:300:10]:
        assert all(each > 300 for each, _ in house.index.search(query, 20))
    assert house.index.cosines(vectors[0], [1, 2]) == {}
    assert house.index.search(vectors[0], 5, among=[1, 2, 3]) == []
    assert set(house.nearest(vectors[400], 3)) <= {each for each, _ in house.index.search(vectors[400], 10)}


def added_again_is_found_where_it_is_now(house: House) -> None:
    first, second = some(2, seed=3)
    house.add([*range(10, 400)], some(390, seed=4))
    house.add([5], first[None, :])  # lower than those before
    house.remove([5])
    house.add([5], second[None, :])
    (best, score), *_ = house.index.search(second, 3)
    assert best == 5 and score > 0.999
    assert abs(house.index.cosines(first, [5])[5] - float(first @ second)) < 1e-5
    assert len(house.index) == 391 and house.index.ids().tolist().count(5) == 1


def filtered_before_ranking(house: House) -> None:
    house.add(list(range(1, 2001)), some(2000))
    query = some(1, seed=8)[0]
    for among in ([7], list(range(1, 2001, 97)), list(range(1, 2001, 2)), [1, 1, 2, 9999]):
        found = [each for each, _ in house.index.search(query, 5, among=among)]
        assert found == house.nearest(query, 5, among)
    assert house.index.search(query, 5, among=[]) == [] and house.index.search(query, 5, among=[9999]) == []


def cosines_are_of_those_that_are_here(house: House) -> None:
    vectors = some(300)
    house.add(list(range(1, 301)), vectors)
    found = house.index.cosines(vectors[0], [1, 2, 300, 301, 9999])
    assert set(found) == {1, 2, 300} and abs(found[1] - 1) < 1e-4


def more_wanted_than_there_are(house: House) -> None:
    house.add([3, 8, 9], some(3))
    assert sorted(each for each, _ in house.index.search(some(1)[0], 100)) == [3, 8, 9]


STORIES: list[Story] = [
    empty,
    finds_as_comparing_all_does,
    removed_is_never_found,
    added_again_is_found_where_it_is_now,
    filtered_before_ranking,
    cosines_are_of_those_that_are_here,
    more_wanted_than_there_are,
]


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
async def test_every_backend(house: House, story: Story) -> None:
    await asyncio.to_thread(story, house)  # as the vaults' threads do


def test_a_wide_filter_is_answered_by_the_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "SCAN_MOST", 100)
    kept = Kept()
    index = GraphIndex(DIMENSIONS, kept.of)
    index.train(some(2000, seed=5))
    house = House(index, kept)
    house.add(list(range(1, 3001)), some(3000))
    house.remove(list(range(1, 3001, 7)))
    scanned: list[int] = []
    monkeypatch.setattr(index, "_scan", lambda *given: scanned.append(1))
    among, right = list(range(1, 3001, 3)), 0
    for query in some(50, seed=1):
        found = [each for each, _ in index.search(query, 10, among=among)]
        assert set(found) <= set(among) & kept.rows.keys() and len(found) == 10
        right += len(set(found) & set(house.nearest(query, 10, among)))
    assert right / 500 >= 0.95 and not scanned


async def test_owners_in_one_table_do_not_meet(postgres_url: str) -> None:
    pool = await postgres.connect(postgres_url)
    table = VectorTable(pool)
    await table.prepare()
    await table.prepare()
    vectors = some(20)

    def story() -> None:
        anna, ben = PgVectorIndex(table, "usr_anna", "model"), PgVectorIndex(table, "usr_ben", "model")
        anna.add(list(range(1, 11)), vectors[:10])
        ben.add(list(range(5, 16)), vectors[9:])
        assert {each for each, _ in anna.search(vectors[12], 50)} == set(range(1, 11))
        assert anna.cosines(vectors[0], [12]) == {} and anna.search(vectors[0], 5, among=[12]) == []
        anna.remove([5, 12])
        assert sorted(ben.ids()) == list(range(5, 16)) and len(anna) == 9
        assert len(PgVectorIndex(table, "usr_anna", "model")) == 9, "it is still there for the next"
        assert len(PgVectorIndex(table, "usr_anna", "other")) == 0, "vectors of another model are no use"
        assert len(PgVectorIndex(table, "usr_anna", "model")) == 0

    await asyncio.to_thread(story)
    await table.delete_owner("usr_ben")
    assert await pool.fetchval("SELECT count(*) FROM rag_vector") == 0
    columns = await pool.fetch("SELECT column_name FROM information_schema.columns WHERE table_name = 'rag_vector'")
    assert {row[0] for row in columns} == {"owner", "chunk_id", "model", "embedding"}, "ids and vectors, never text"
    await pool.close()
