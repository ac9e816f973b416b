"""The exact index and its copy on another device."""

from __future__ import annotations

import faiss
import numpy as np
import pytest

from services.rag.index.flat import FlatIndex, mirror_on


def some(count: int) -> np.ndarray:
    made = np.random.default_rng(1).normal(size=(count, 16)).astype(np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)  # type: ignore[no-any-return]


def test_a_copy_on_another_device_finds_the_same_and_follows() -> None:
    made: list[int] = []

    def mirror(index: faiss.Index) -> faiss.Index:
        made.append(index.ntotal)
        return faiss.clone_index(index)

    here, there, vectors = FlatIndex(16), FlatIndex(16, mirror), some(50)
    for index in (here, there):
        index.add(range(100, 150), vectors)  # type: ignore[arg-type]
        index.remove([100, 120])
    for query in vectors[:5]:
        assert here.search(query, 7) == there.search(query, 7)
        assert here.search(query, 7, among=[101, 102]) == there.search(query, 7, among=[101, 102])
    assert made == [48], "copied once"
    there.add([7], vectors[:1])
    assert there.search(vectors[0], 1)[0][0] == 7 and made == [48, 49]


def test_without_a_gpu_the_index_says_so_and_stays_here(caplog: pytest.LogCaptureFixture) -> None:
    if hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus():
        pytest.skip("there is a GPU")
    assert mirror_on("cpu") is None and not caplog.records
    assert mirror_on("cuda") is None and "stays on the processor" in caplog.text
