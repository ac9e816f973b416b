"""What the chat service reads."""

from __future__ import annotations

from typing import Literal

from pydantic import AliasChoices, Field
from pydantic_settings import SettingsConfigDict

from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """The language model and how it is asked."""

    model_config = SettingsConfigDict(env_prefix="GEMMA_")

    engine: str = "llama_cpp"
    """Language engine: llama_cpp or fake (tells everything it was told; for tests only)."""
    llm_model: str = Field(
        "smollm2-135m-instruct/smollm2-135m-instruct-q4_1.gguf",
        validation_alias=AliasChoices("LLM_MODEL", "llm_model"),
    )
    """GGUF file below MODELS_DIR."""
    template: Literal["auto", "chatml", "qwen", "gemma", "llama3", "mistral", "phi"] = "auto"
    """Chat template: chatml, qwen, gemma, llama3, mistral, phi or auto (by the file's name). One inside the file is
    never run."""
    threads: int = Field(default=0, ge=0, le=512)
    """CPU threads while writing; on few shared cores more are slower. 0: measured once per machine and model."""
    threads_batch: int = Field(default=0, ge=0, le=512)
    """CPU threads while reading prompts and while writing several answers. 0: measured."""
    gpu_layers: int = Field(default=0, ge=-1)
    """Layers of the model on the GPU. -1: all."""
    context_tokens: int = Field(default=2048, ge=512)
    """Most tokens of one answer and its prompt together."""
    parallel: int = Field(default=4, ge=1, le=64)
    """Answers that are written at once."""
    cache_tokens: int = Field(default=0, ge=0)
    """Tokens that the model keeps in memory for all answers and past conversations together. 0: PARALLEL times
    CONTEXT_TOKENS."""
    memory_tokens: int = Field(default=900, ge=0)
    """Most tokens of the prompt that memories may take."""
    idle_unload_s: float = Field(default=900, ge=-1)
    """Quiet time before the model leaves memory, in seconds. -1: never."""
    queue_length: int = Field(default=8, ge=1)
    """Answers that may be in the making at once; beyond that a caller is told to come back."""
    top_k: int = Field(default=6, ge=1, le=100)
    """Passages looked up for a question."""
    gpu_device: str = ""
    """Device whose memory the model takes, as `nemo gpu` names it. Empty: the first of its kind."""
    budget_bytes: int = Field(default=0, ge=0)
    """Memory that the model is taken to need until it is measured, in bytes. 0: estimated from the weights."""
