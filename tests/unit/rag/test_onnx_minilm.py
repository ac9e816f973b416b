"""Vectors do not depend on what else is embedded at the same time."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from services.rag.engines.onnx_minilm import RUN_TOKENS, OnnxMiniLM, _runs
from services.rag.settings import Settings


def test_many_texts_of_all_lengths_get_the_vectors_they_get_alone(models_dir: Path) -> None:
    engine = OnnxMiniLM(Settings(models_dir=models_dir, threads=2))
    texts = ["Short.", "", "word " * 400, *(f"The {n} oranges are on the table. " * (n % 7) for n in range(30))]
    together = engine.embed(texts)
    for text, vector in zip(texts, together, strict=True):
        assert np.allclose(engine.embed([text])[0], vector, atol=1e-5)
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    assert engine.embed([]).shape == (0, engine.capabilities.dimensions)


def test_every_text_is_in_one_run_and_no_run_is_too_long() -> None:
    lengths = [3, 256, 40, 41, 2, 255, 100, 100, 1, 17, 60, 60, 60, 60, 60]
    runs = list(_runs(lengths))
    assert sorted(at for run in runs for at in run) == list(range(len(lengths)))
    assert all(len(run) * max(lengths[at] for at in run) <= RUN_TOKENS for run in runs)
    assert list(_runs([])) == []
