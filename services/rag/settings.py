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
    """CPU threads that one embedding run may use."""
    open_vaults: int = 64
    """Most vaults kept open with their index in memory; the least used is closed first."""
    index_bytes: int = 512 * 1024 * 1024
    """Most bytes of vectors kept in memory over all users."""
    max_document_bytes: int = 50 * 1024**2
    """Largest document, in bytes."""
    document_chars: int = 5_000_000
    """Most text read from one document, in characters; what is cut off is said in its warnings."""
    document_cpu_s: int = 60
    """Processor time that the reading of one document may take, in seconds."""
    max_import_bytes: int = 1024**3
    """Largest archive of a vault that is taken back, in bytes."""
    import_ratio: int = 50
    """How many times its own size such an archive may unpack to, beyond 16 MiB."""
    passage_chars: int = 700
    """Length that a passage of a transcript or of a long memory aims at, in characters."""
    facts: bool = True
    """Learn facts from recordings and from what users write in chats. Off: they are found as they were said only."""
