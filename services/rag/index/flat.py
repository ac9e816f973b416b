"""Exact search: every vector is compared."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import faiss
import numpy as np

from services.rag.engines import Vectors
from services.rag.index import Ids

log = logging.getLogger(__name__)

Mirror = Callable[[Any], Any]
"""A copy of a FAISS index on another device."""


class FlatIndex:
    """All vectors in float32. With `mirror`, searches without a filter run on a copy that another device holds.

    FAISS on a GPU neither removes nor filters, so those stay with the vectors here.
    """

    def __init__(self, dimensions: int, mirror: Mirror | None = None) -> None:
        self._dimensions = dimensions
        self._index = faiss.IndexIDMap2(faiss.IndexFlatIP(dimensions))
        self._mirror = mirror
        self._copy: Any = None

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def bytes(self) -> int:
        return len(self) * (self._dimensions * 4 + 64)  # FAISS keeps each id twice, once in a hash map

    def ids(self) -> Ids:
        return faiss.vector_to_array(self._index.id_map)  # type: ignore[no-any-return]

    def add(self, ids: Sequence[int] | Ids, vectors: Vectors) -> None:
        if len(ids):
            self._index.add_with_ids(np.ascontiguousarray(vectors), np.asarray(ids, dtype=np.int64))
            self._copy = None

    def remove(self, ids: Sequence[int] | Ids) -> None:
        if len(ids):
            self._index.remove_ids(faiss.IDSelectorBatch(np.asarray(ids, dtype=np.int64)))
            self._copy = None

    def cosines(self, vector: Vectors, ids: Sequence[int]) -> dict[int, float]:
        found = {}
        for each in ids:
            with suppress(RuntimeError):  # how faiss says that it has no such id
                found[each] = float(self._index.reconstruct(each) @ vector)
        return found

    def search(self, vector: Vectors, count: int, among: Sequence[int] | None = None) -> list[tuple[int, float]]:
        if not len(self) or (among is not None and not len(among)):
            return []
        count = min(count, len(self))
        if among is None and self._mirror is not None:
            return self._on_device(vector, count)
        parameters = None
        if among is not None:
            selector = faiss.IDSelectorBatch(np.asarray(among, dtype=np.int64))
            parameters = faiss.SearchParameters()
            parameters.sel = selector
        scores, ids = self._index.search(vector.reshape(1, -1), count, params=parameters)
        return [(int(i), float(s)) for i, s in zip(ids[0], scores[0], strict=True) if i >= 0]

    def _on_device(self, vector: Vectors, count: int) -> list[tuple[int, float]]:
        assert self._mirror is not None
        if self._copy is None:
            self._copy = self._mirror(self._index.index)
        scores, at = self._copy.search(vector.reshape(1, -1), count)
        ids = self.ids()
        return [(int(ids[i]), float(s)) for i, s in zip(at[0], scores[0], strict=True) if i >= 0]


def search_in_one_thread() -> None:
    """For the thread that calls this. With two FAISS takes three times the processor time for one query of 10,000
    vectors, and other users' searches want the other cores."""
    faiss.omp_set_num_threads(1)


def mirror_on(device: str) -> Mirror | None:
    """None for `cpu`, and with a warning where FAISS finds no GPU: the search is the same, only slower."""
    if device == "cpu":
        return None
    if not hasattr(faiss, "StandardGpuResources") or not faiss.get_num_gpus():
        log.warning("RAG_INDEX_DEVICE=cuda, but FAISS finds no GPU here; the index stays on the processor")
        return None
    resources = faiss.StandardGpuResources()
    return lambda index: faiss.index_cpu_to_gpu(resources, 0, index)
