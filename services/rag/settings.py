"""What the memory service reads."""

from __future__ import annotations

from typing import Literal

from pydantic import AliasChoices, Field
from pydantic_settings import SettingsConfigDict

from shared.settings import ServiceSettings

EXACT_MOST = 10_000
"""Vectors compared one by one in the time that a graph takes (docs/adr/0015)."""


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
    """Most vaults kept open, each with its index and up to 8 MiB of its pages in memory; the least used is closed
    first."""
    index_bytes: int = 512 * 1024 * 1024
    """Most bytes of indexes and latest queries kept in memory over all users. A vault that is in use, or whose graph is
    being built, stays open beyond it."""
    index: Literal["faiss", "pgvector"] = "faiss"
    """Where the index of a vault is. faiss: in memory, made of the encrypted vault. pgvector: in PostgreSQL, for many
    machines, and NOT encrypted with the user's key; texts can be guessed from vectors, so whoever reads the database
    learns much of what was said. After a change back to faiss, drop the table `rag_vector` by hand."""
    index_exact_most: int = EXACT_MOST
    """Most vectors of one user that are compared one by one; with more, a graph is built and finds candidates.
    0: always a graph."""
    index_device: Literal["cpu", "cuda"] = "cpu"
    """Where vectors are compared. cuda: exact at any size on a GPU; needs the extra `faiss-gpu` in place of faiss-cpu,
    and without a GPU it warns and stays on the processor."""
    query_cache_bytes: int = 1024 * 1024
    """Most bytes of a user's latest queries and what they found, in memory while the vault is open. 0: none."""
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
