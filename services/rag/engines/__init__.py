"""Text to vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
"""float32 [texts, dimensions], each row of length 1."""

BUILTIN = {
    "onnx_minilm": "services.rag.engines.onnx_minilm:OnnxMiniLM",
    "sentence_transformers": "services.rag.engines.sentence_transformers:SentenceTransformers",
    "fake": "services.rag.engines.fake:FakeEmbedder",
}


@dataclass(frozen=True)
class Capabilities:
    """What an embedder is."""

    dimensions: int
    max_tokens: int
    """Longer texts are cut off, so passages are made shorter than this."""
    model: str


class Embedder(Protocol):
    """Blocking; run it in a pool."""

    capabilities: Capabilities

    def __init__(self, settings: Any) -> None: ...

    def embed(self, texts: Sequence[str]) -> Vectors: ...

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text as the model reads it, before anything is cut off."""
        ...
