"""What the chat service reads."""

from __future__ import annotations

from typing import Literal

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import SettingsConfigDict

from shared.settings import ServiceSettings, shared_name


class Settings(ServiceSettings):
    """The language model and how it is asked."""

    model_config = SettingsConfigDict(env_prefix="GEMMA_")

    engine: str = "llama_cpp"
    """Language engine: llama_cpp, openai (another server, at GEMMA_OPENAI_URL) or fake (for tests only)."""
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
    openai_url: str = ""
    """Base URL of a server of that protocol (vLLM, llama-server, Ollama), such as http://127.0.0.1:8080/v1."""
    openai_model: str = ""
    """Name of the model as that server knows it."""
    gemma_openai_key: SecretStr | None = shared_name("GEMMA_OPENAI_KEY", None)
    """What that server takes as its key. Empty: none is sent."""
    openai_timeout_s: float = Field(default=120, gt=0)
    """Longest silence of that server before it is given up, in seconds."""
    egress: str = "none"
    """Where else than to this machine itself memories may be sent: `host:port` as in GEMMA_OPENAI_URL or the address
    that it resolves to, several separated by commas. none: nowhere."""
