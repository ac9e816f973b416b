"""What the memory service reads."""

from __future__ import annotations

from pydantic import AliasChoices, Field
from pydantic_settings import SettingsConfigDict

from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """Vaults, embeddings and the index."""

    model_config = SettingsConfigDict(env_prefix="RAG_")

    engine: str = "onnx_minilm"
    """Embedding engine: onnx_minilm, sentence_transformers or fake (invents vectors; for tests only)."""
    embedding_model: str = Field(
        "all-minilm-l6-v2", validation_alias=AliasChoices("EMBEDDING_MODEL", "embedding_model")
    )
    """Folder of the weights below MODELS_DIR, or a name that the engine knows."""
    threads: int = 2
    """CPU threads that embedding many texts may use; a question takes one. 0: as many as there are cores."""
    open_vaults: int = 64
    """Most vaults kept open with their index in memory; the least used is closed first."""
    index_bytes: int = 512 * 1024 * 1024
    """Most bytes of vectors kept in memory over all users."""
    passage_chars: int = 700
    """Length that a passage of a transcript or of a long memory aims at, in characters."""
