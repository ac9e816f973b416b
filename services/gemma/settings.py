"""What the chat service reads."""

from __future__ import annotations

from pydantic import AliasChoices, Field
from pydantic_settings import SettingsConfigDict

from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """The language model and how it is asked."""

    model_config = SettingsConfigDict(env_prefix="GEMMA_")

    engine: str = "llama_cpp"
    """Language engine: llama_cpp or fake (obeys every instruction; for tests only)."""
    llm_model: str = Field(
        "smollm2-135m-instruct/smollm2-135m-instruct-q4_1.gguf",
        validation_alias=AliasChoices("LLM_MODEL", "llm_model"),
    )
    """GGUF file below MODELS_DIR."""
    template: str = "auto"
    """Chat template: chatml, gemma or auto (by the file's name). A template inside the file is never run."""
    threads: int = 1
    """CPU threads while writing; on few shared cores more are slower."""
    threads_batch: int = 2
    """CPU threads while reading the prompt."""
    gpu_layers: int = 0
    """Layers of the model on the GPU. -1: all."""
    context_tokens: int = 2048
    """Length of the model's context, prompt and answer together."""
    memory_tokens: int = 900
    """Most tokens of the prompt that memories may take."""
    queue_length: int = 8
    """Answers that may wait for the model; beyond that a caller is told to come back."""
    top_k: int = 6
    """Passages looked up for a question."""
