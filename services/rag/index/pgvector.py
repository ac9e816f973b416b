"""Vectors in PostgreSQL, for installations of many machines: RAG_INDEX=pgvector.

They are **not** encrypted with the user's key: who reads this table can learn much of what was said, because texts can
be guessed from their vectors (Morris et al., "Text embeddings reveal (almost) as much as text", 2023). Text itself is
never here, every statement names its owner, and the search is exact: the filter by owner comes first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from services.rag.engines import Vectors
from services.rag.index import Ids, VectorIndex
from services.rag.index.source import VectorSource
from shared.storage.postgres import Pool, in_our_words, migrate

Result = TypeVar("Result")
MIGRATIONS = Path(__file__).parent.parent / "migrations"
ROUND = 2048
"""Vectors in one transaction."""
TIMEOUT_S = 60.0
"""For one answer of PostgreSQL; the pool gives up a statement sooner."""


class VectorTable:
    """The table of all owners. Made in the event loop of its pool, asked from the vaults' threads."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._loop = asyncio.get_running_loop()

    async def prepare(self) -> None:
        await migrate(self._pool, "rag", MIGRATIONS)

    async def delete_owner(self, owner: str) -> None:
        with in_our_words():
            await self._pool.execute("DELETE FROM rag_vector WHERE owner = $1", owner)

    def fetch(self, sql: str, *values: Any) -> list[Any]:
        return self._wait(self._pool.fetch(sql, *values))

    def execute(self, sql: str, *values: Any) -> int:
        """Rows changed."""
        return int(self._wait(self._pool.execute(sql, *values)).rsplit(" ", 1)[1])

    def execute_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """All or nothing."""
        self._wait(self._pool.executemany(sql, rows))

    def _wait(self, asked: Coroutine[Any, Any, Result]) -> Result:
        with in_our_words():
            return asyncio.run_coroutine_threadsafe(asked, self._loop).result(TIMEOUT_S)


_ADD = """
INSERT INTO rag_vector (owner, model, chunk_id, embedding) VALUES ($1, $2, $3, $4::real[]::vector)
ON CONFLICT (owner, chunk_id) DO UPDATE SET model = excluded.model, embedding = excluded.embedding
"""
_COSINES = """
SELECT chunk_id, -(embedding <#> $3::real[]::vector) AS cosine FROM rag_vector
WHERE owner = $1 AND model = $2 AND ($4::bigint[] IS NULL OR chunk_id = ANY ($4)) ORDER BY cosine DESC LIMIT $5
"""


class PgVectorIndex:
    """One owner's vectors of one model."""

    def __init__(self, table: VectorTable, owner: str, model: str) -> None:
        self._table = table
        self._whose = (owner, model)
        table.execute("DELETE FROM rag_vector WHERE owner = $1 AND model <> $2", *self._whose)

    def __len__(self) -> int:
        """Asked each time: another instance of the service may have added some."""
        rows = self._table.fetch("SELECT count(*) FROM rag_vector WHERE owner = $1 AND model = $2", *self._whose)
        return int(rows[0][0])

    @property
    def bytes(self) -> int:
        return 0

    def ids(self) -> Ids:
        rows = self._table.fetch("SELECT chunk_id FROM rag_vector WHERE owner = $1 AND model = $2", *self._whose)
        return np.fromiter((row[0] for row in rows), dtype=np.int64, count=len(rows))

    def add(self, ids: Sequence[int] | Ids, vectors: Vectors) -> None:
        rows = [(*self._whose, int(each), vector.tolist()) for each, vector in zip(ids, vectors, strict=True)]
        for at in range(0, len(rows), ROUND):
            self._table.execute_many(_ADD, rows[at : at + ROUND])

    def remove(self, ids: Sequence[int] | Ids) -> None:
        if len(ids):
            sql = "DELETE FROM rag_vector WHERE owner = $1 AND model = $2 AND chunk_id = ANY ($3::bigint[])"
            self._table.execute(sql, *self._whose, [int(each) for each in ids])

    def cosines(self, vector: Vectors, ids: Sequence[int]) -> dict[int, float]:
        return dict(self.search(vector, len(ids), ids))

    def search(self, vector: Vectors, count: int, among: Sequence[int] | None = None) -> list[tuple[int, float]]:
        if among is not None and not len(among):
            return []
        only = None if among is None else [int(each) for each in among]
        rows = self._table.fetch(_COSINES, *self._whose, vector.tolist(), only, count)
        return [(row[0], row[1]) for row in rows]


class PostgresIndex:
    """A vault's index in that table; what differs from the vault is brought up to it when the index is first used."""

    due = False

    def __init__(self, source: VectorSource, table: VectorTable, owner: str) -> None:
        self._source = source
        self._table = table
        self._owner = owner
        self._index: PgVectorIndex | None = None
        self.foreign = 0

    @property
    def index(self) -> VectorIndex:
        if self._index is None:
            self._index = self._load()
        return self._index

    @property
    def bytes(self) -> int:
        return 0

    def _load(self) -> PgVectorIndex:
        index = PgVectorIndex(self._table, self._owner, self._source.model)
        here, there = index.ids(), self._source.ids()  # in this order what another one adds meanwhile is not removed
        index.remove(np.setdiff1d(here, there))
        new = np.setdiff1d(there, here)
        for at in range(0, len(new), ROUND):
            index.add(*self._source.of(new[at : at + ROUND]))
        self.foreign = self._source.foreign()
        return index

    def follow(self, removed: Sequence[int], added: Sequence[int], vectors: Vectors | None) -> None:
        """Also before the first search: what was deleted must leave the table now."""
        if self._index is None:
            self._index = self._load()  # it finds what was just committed
            return
        self._index.remove(removed)
        if vectors is not None:
            self._index.add(added, vectors)

    def forget(self) -> None:
        self._index = None

    def clear(self) -> None:
        self.forget()
        self._table.execute("DELETE FROM rag_vector WHERE owner = $1", self._owner)

    def tend(self) -> None:
        """PostgreSQL does."""

    def close(self) -> None:
        """What is in PostgreSQL stays there."""
