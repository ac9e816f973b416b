"""Vectors from a hash of the words: fast, repeatable and without any meaning."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from services.rag.engines import Capabilities, Vectors


class FakeEmbedder:
    """Words in common make vectors alike; synonyms do not. Never a default."""

    def __init__(self, settings: Any) -> None:
        warnings.warn("FakeEmbedder knows words but no meaning; it is for tests only", stacklevel=2)
        self.capabilities = Capabilities(64, 256, "fake")

    def embed(self, texts: Sequence[str]) -> Vectors:
        return np.stack([self._one(text) for text in texts])

    def lengths(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]

    def _one(self, text: str) -> Vectors:
        vector = np.full(self.capabilities.dimensions, 1e-3, dtype=np.float32)
        for word in text.lower().split():
            vector[hashlib.sha256(word.encode()).digest()[0] % self.capabilities.dimensions] += 1
        return vector / np.linalg.norm(vector)
