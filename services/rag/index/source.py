"""The vectors as the vault keeps them: what every index is made of and measured by."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from services.rag.engines import Vectors
from services.rag.index import Ids
from shared.storage.sqlcipher import Connection, in_our_words


@dataclass(frozen=True)
class Extent:
    """Which chunks an index is of. Ids are given once and rise, so equal extents of one model are the same chunks."""

    count: int
    last: int


class VectorSource:
    """The chunks that `model` embedded. Use it with the vault's lock held."""

    def __init__(self, db: Connection, model: str, dimensions: int) -> None:
        self.db = db
        self.model = model
        self.dimensions = dimensions
        self._fits = "+model = ? AND length(vector) = ?"
        self._values = (model, dimensions * np.dtype(np.float32).itemsize)

    def extent(self) -> Extent:
        with in_our_words():
            sql = "SELECT count(*), coalesce(max(chunk_id), 0) FROM chunk WHERE model = ?"
            return Extent(*self.db.execute(sql, (self.model,)).fetchone())

    def foreign(self) -> int:
        """Chunks that no vector stands for here, because another model embedded them."""
        with in_our_words():
            return int(self.db.execute("SELECT count(*) FROM chunk").fetchone()[0]) - self.extent().count

    def ids(self) -> Ids:
        with in_our_words():
            rows = self.db.execute("SELECT chunk_id FROM chunk WHERE model = ? ORDER BY chunk_id", (self.model,))
            return np.fromiter((row[0] for row in rows), dtype=np.int64)

    def after(self, chunk_id: int, limit: int) -> tuple[Ids, Vectors]:
        """The next `limit` by id."""
        sql = f"SELECT chunk_id, vector FROM chunk WHERE chunk_id > ? AND {self._fits} ORDER BY chunk_id LIMIT ?"  # noqa: S608
        with in_our_words():
            return self._read(self.db.execute(sql, (chunk_id, *self._values, limit)).fetchall())

    def of(self, ids: Sequence[int] | Ids) -> tuple[Ids, Vectors]:
        """Those of the ids that are still there."""
        sql = f"SELECT chunk_id, vector FROM chunk WHERE chunk_id IN (SELECT value FROM json_each(?)) AND {self._fits}"  # noqa: S608
        with in_our_words():
            return self._read(self.db.execute(sql, (json.dumps([int(each) for each in ids]), *self._values)).fetchall())

    def _read(self, rows: Sequence[tuple[int, bytes]]) -> tuple[Ids, Vectors]:
        ids = np.fromiter((row[0] for row in rows), dtype=np.int64, count=len(rows))
        vectors = np.frombuffer(b"".join(row[1] for row in rows), dtype=np.float32)
        return ids, vectors.reshape(len(rows), self.dimensions)
