"""Any sentence-transformers model, on the GPU where there is one (extra `gpu`)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from services.rag.engines import Capabilities, Vectors
from services.rag.settings import Settings


class SentenceTransformers:
    """Loads from the folder below MODELS_DIR; nothing is fetched."""

    def __init__(self, settings: Settings) -> None:
        from sentence_transformers import SentenceTransformer

        self._model = SentenceTransformer(str(settings.models_dir / settings.embedding_model), local_files_only=True)
        dimensions = int(self._model.get_sentence_embedding_dimension())
        self.capabilities = Capabilities(dimensions, int(self._model.max_seq_length), settings.embedding_model)

    def embed(self, texts: Sequence[str]) -> Vectors:
        vectors = self._model.encode(list(texts), normalize_embeddings=True, convert_to_numpy=True)
        return np.asarray(vectors, dtype=np.float32)

    def lengths(self, texts: Sequence[str]) -> list[int]:
        return [len(ids) for ids in self._model.tokenizer(list(texts), truncation=False)["input_ids"]]
