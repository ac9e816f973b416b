"""Search of many vectors: coarse codes find candidates, the codes and what they left out rank them.

Each number of a vector is kept as one byte (FAISS's 8-bit scalar quantizer), and what that byte left out as another
(fine.py): half the memory of the vectors, and no search reads the vault for them. A hierarchical navigable small world
(Malkov and Yashunin, 2018) leads to the candidates by the first bytes without a look at most of them; until it is
built, and where a filter leaves few, all codes that are allowed are compared. Either way the candidates' cosines come
from both bytes, and are right to some 1e-5.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from services.rag.engines import Vectors
from services.rag.index import Ids
from services.rag.index.fine import BEYOND, Fine

LINKS = 32
"""M: links of a node, twice as many in the lowest layer. 16 misses three times as many (docs/adr/0015)."""
BUILD_EFFORT = 80
"""efConstruction: neighbours that a new node chooses its links from. Fewer than the lowest layer has room for (64) are
all taken, near or far: at a million 40 finds 0.955 of the ten nearest, 80 0.999, for half as much time again."""
SEARCH_EFFORT = 160
"""efSearch, the candidates followed in the graph; more where a filter refuses some of them."""
MOST_EFFORT = 2048
MORE = 20
"""Candidates ranked beyond the results wanted, because codes order near neighbours only roughly."""
MARGIN = 0.1
"""How far the range of a dimension reaches beyond what the sample showed, on each side, as a share of that."""
SCAN_MOST = 50_000
"""A filter that leaves no more than this is answered from those codes alone."""

Full = Callable[[Ids], tuple[Ids, Vectors]]
"""Ids, and the full vectors, of those that the vault still has: for what lies beyond the range that codes can tell."""


class GraphIndex:
    """`train` it before the first `add`. Removed nodes stay, emptied, until it is built anew; see `dead_share`."""

    def __init__(self, dimensions: int, full: Full, *, linked: bool = True) -> None:
        kind = faiss.ScalarQuantizer.QT_8bit
        metric = faiss.METRIC_INNER_PRODUCT
        if linked:
            self._index = faiss.IndexHNSWSQ(dimensions, kind, LINKS, metric)
            self._index.hnsw.efConstruction = BUILD_EFFORT
        else:
            self._index = faiss.IndexScalarQuantizer(dimensions, kind, metric)
        self._storage().sq.rangestat_arg = MARGIN
        self._full = full
        self._fine = Fine(dimensions)
        self._ids: Ids = np.zeros(0, dtype=np.int64)
        self._alive: NDArray[np.bool_] = np.zeros(0, dtype=np.bool_)
        self._count = 0
        self._order: Ids | None = None
        """Positions by id, where ids were not added in rising order."""

    @property
    def linked(self) -> bool:
        return hasattr(self._index, "hnsw")

    def __len__(self) -> int:
        return self._count

    @property
    def dead_share(self) -> float:
        return 1 - len(self) / len(self._ids) if len(self._ids) else 0.0

    @property
    def bytes(self) -> int:
        total = self._codes().nbytes + self._fine.bytes + self._ids.nbytes + self._alive.nbytes
        if self._order is not None:
            total += self._order.nbytes
        if self.linked:
            graph = self._index.hnsw
            total += graph.neighbors.size() * 4 + graph.offsets.size() * 8 + graph.levels.size() * 4
        return int(total)

    def ids(self) -> Ids:
        return self._ids[self._alive]

    def train(self, sample: Vectors) -> None:
        """Learn the range of each dimension. `sample`: float32 [some thousand, dimensions]."""
        self._index.train(np.ascontiguousarray(sample))

    def add(self, ids: Sequence[int] | Ids, vectors: Vectors) -> None:
        if not len(ids):
            return
        before = len(self._ids)
        vectors = np.ascontiguousarray(vectors)
        self._count += len(ids)
        self._index.add(vectors)
        self._ids = np.concatenate([self._ids, np.asarray(ids, dtype=np.int64)])
        self._alive = np.concatenate([self._alive, np.ones(len(ids), dtype=np.bool_)])
        self._fine.add(vectors - self._coarse(np.s_[before:]), self._step)
        if self._order is not None or not _rising(self._ids[max(0, before - 1) :]):
            self._order = np.argsort(self._ids, kind="stable")

    def remove(self, ids: Sequence[int] | Ids) -> None:
        positions = self._positions(ids)
        self._alive[positions] = False
        self._count = int(self._alive.sum())
        if len(positions):  # nothing of what was removed is left; as near to all as to none, it leads nowhere
            nothing = self._storage().sa_encode(np.zeros((1, self._index.d), dtype=np.float32))
            self._codes()[positions] = nothing
            self._fine.empty(positions)

    def _coarse(self, positions: Any) -> Vectors:
        """What the codes at these positions stand for."""
        return self._storage().sa_decode(self._codes()[positions])  # type: ignore[no-any-return]

    @cached_property
    def _step(self) -> Vectors:
        """Width of a code, by dimension: FAISS keeps where each range begins, and then how wide it is."""
        widths = faiss.vector_to_array(self._storage().sq.trained)[self._index.d :]
        return widths / 255  # type: ignore[no-any-return]

    def _storage(self) -> Any:
        return faiss.downcast_index(self._index.storage) if self.linked else self._index

    def cosines(self, vector: Vectors, ids: Sequence[int]) -> dict[int, float]:
        return dict(self._exact(vector, self._positions(ids)))

    def search(self, vector: Vectors, count: int, among: Sequence[int] | None = None) -> list[tuple[int, float]]:
        allowed = self._alive if among is None else self._only(among)
        left = self._count if among is None else int(allowed.sum())
        if not left:
            return []
        want = min(left, count + MORE)
        walk = self.linked and (among is None or left > SCAN_MOST)
        near = self._walk(vector, want, allowed, left) if walk else self._scan(vector, want, allowed, left)
        return self._exact(vector, near)[:count]

    def _only(self, among: Sequence[int]) -> NDArray[np.bool_]:
        allowed = np.zeros(len(self._ids), dtype=np.bool_)
        allowed[self._positions(among)] = True
        return allowed

    def _walk(self, vector: Vectors, want: int, allowed: NDArray[np.bool_], left: int) -> Ids:
        how = faiss.SearchParametersHNSW()
        how.efSearch = min(MOST_EFFORT, int(max(SEARCH_EFFORT, want) * len(self._ids) / left))
        return self._found(self._index, vector, want, how, allowed, left)

    def _scan(self, vector: Vectors, want: int, allowed: NDArray[np.bool_], left: int) -> Ids:
        return self._found(self._storage(), vector, want, faiss.SearchParameters(), allowed, left)

    def _found(self, index: Any, vector: Vectors, want: int, how: Any, allowed: NDArray[np.bool_], left: int) -> Ids:
        if left < len(self._ids):
            bits = np.packbits(allowed, bitorder="little")
            how.sel = selector = faiss.IDSelectorBitmap(bits)  # noqa: F841 - FAISS holds pointers only
        positions = index.search(vector.reshape(1, -1), want, params=how)[1][0]
        return np.asarray(positions[positions >= 0], dtype=np.int64)

    def _exact(self, vector: Vectors, positions: Ids) -> list[tuple[int, float]]:
        if not len(positions):
            return []
        ids, fine = self._ids[positions], self._fine.of(positions)
        vectors = self._coarse(positions) + fine * (self._step / Fine.STEPS)
        cosines = np.einsum("ij,j->i", vectors, vector)  # of many rows, BLAS waits for a second core
        beyond = (fine == BEYOND).any(axis=1)
        if beyond.any():
            there, full = self._full(ids[beyond])
            known = dict(zip(there.tolist(), (full @ vector).tolist(), strict=True))
            cosines[beyond] = [known.get(each, np.nan) for each in ids[beyond].tolist()]
            ids, cosines = ids[~np.isnan(cosines)], cosines[~np.isnan(cosines)]
        best = np.argsort(-cosines, kind="stable")
        return list(zip(ids[best].tolist(), cosines[best].tolist(), strict=True))

    def _positions(self, ids: Sequence[int] | Ids) -> Ids:
        """Of the living among the ids; an id that was removed and added again is at the later of its places."""
        wanted = np.asarray(ids, dtype=np.int64)
        if not len(self._ids) or not len(wanted):
            return np.zeros(0, dtype=np.int64)
        at = np.searchsorted(self._ids, wanted, side="right", sorter=self._order) - 1
        if self._order is not None:
            at = self._order[at]
        here: Ids = at[(self._ids[at] == wanted) & self._alive[at]]
        return here

    def _codes(self) -> NDArray[np.uint8]:
        """The codes themselves, uint8 [n, dimensions]; what is written here is what is searched."""
        storage = self._storage()
        if not len(self._ids):
            return np.zeros((0, storage.code_size), dtype=np.uint8)
        flat = faiss.rev_swig_ptr(storage.codes.data(), storage.codes.size())
        return flat.reshape(-1, storage.code_size)  # type: ignore[no-any-return]

    def dump(self) -> list[NDArray[Any]]:
        """Its parts, for `restored`."""
        return [self._ids, np.packbits(self._alive), faiss.serialize_index(self._index), self._fine.rows()]

    @classmethod
    def restored(cls, dimensions: int, full: Full, parts: Sequence[NDArray[np.uint8]]) -> GraphIndex:
        """`parts` as bytes. Raises ValueError or RuntimeError where they do not fit together."""
        index = cls(dimensions, full)
        index._ids = np.frombuffer(parts[0], dtype=np.int64)
        index._alive = np.unpackbits(parts[1], count=len(index._ids)).astype(np.bool_)
        index._count = int(index._alive.sum())
        index._index = faiss.deserialize_index(parts[2])
        index._fine.restore(parts[3])
        if index._index.d != dimensions or not index._index.ntotal == len(index._ids) == len(index._fine):
            raise ValueError("the parts of an index are of different sizes")
        if not _rising(index._ids):
            index._order = np.argsort(index._ids, kind="stable")
        return index


def _rising(ids: Ids) -> bool:
    return bool(np.all(ids[:-1] < ids[1:]))
