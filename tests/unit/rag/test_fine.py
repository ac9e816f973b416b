"""The second byte of each number, and what a graph makes of both."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from services.rag.engines import Vectors
from services.rag.index import fine
from services.rag.index.fine import BEYOND, Fine
from services.rag.index.graph import GraphIndex

DIMENSIONS = 24


def some(count: int, seed: int = 0) -> Vectors:
    made = np.random.default_rng(seed).normal(size=(count, DIMENSIONS))
    return np.ascontiguousarray(made / np.linalg.norm(made, axis=1, keepdims=True), dtype=np.float32)


def test_rows_are_where_they_were_put_over_many_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fine, "BLOCK", 8)
    kept, step = Fine(3), np.full(3, 254, dtype=np.float32)
    told = np.random.default_rng(1).integers(-120, 121, size=(30, 3)).astype(np.float32)
    for first, last in ((0, 5), (5, 8), (8, 8), (8, 29), (29, 30)):
        kept.add(told[first:last], step)
    assert len(kept) == 30 and kept.bytes == 90
    assert np.array_equal(kept.rows(), told) and np.array_equal(kept.of(np.array([29, 0, 8])), told[[29, 0, 8]])
    kept.empty(np.array([8]))
    assert not kept.of(np.array([8])).any() and np.array_equal(kept.of(np.array([7, 9])), told[[7, 9]])
    again = Fine(3)
    again.restore(kept.rows().view(np.uint8).ravel())
    assert np.array_equal(again.rows(), kept.rows()) and len(Fine(3).rows()) == 0
    with pytest.raises(ValueError):
        Fine(3).restore(np.zeros(7, dtype=np.uint8))


def test_what_lies_beyond_the_range_is_marked_and_a_constant_dimension_is_no_error() -> None:
    kept = Fine(3)
    kept.add(np.array([[0.5, -0.5, 0.0], [0.6, -0.7, 0.0]], dtype=np.float32), np.array([1, 1, 0], dtype=np.float32))
    assert kept.rows().tolist() == [[127, -127, 0], [BEYOND, BEYOND, 0]]


def test_only_what_lies_beyond_the_range_is_read_from_the_vault() -> None:
    vectors, asked = some(600), []

    def full(ids: Any) -> tuple[Any, Vectors]:
        asked.append(ids.tolist())
        there = ids[ids != 602]
        return there, np.concatenate([vectors, far])[there - 1]

    far = np.zeros((2, DIMENSIONS), dtype=np.float32)
    far[:, 3] = 1  # further along one dimension than any of the sample
    index = GraphIndex(DIMENSIONS, full)
    index.train(vectors)
    index.add(np.arange(1, 601), vectors)
    for query in some(20, seed=2):
        for each, cosine in index.search(query, 10):
            assert abs(cosine - float(vectors[each - 1] @ query)) < 4e-5
    assert not asked
    index.add(np.array([601, 602]), far)
    found = dict(index.search(far[0], 10))
    assert [sorted(ids) for ids in asked] == [[601, 602]] and found[601] == 1.0
    assert 602 not in found, "the vault has it no longer"
