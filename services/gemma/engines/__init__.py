"""Language models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

BUILTIN = {
    "llama_cpp": "services.gemma.engines.llama_cpp:LlamaCpp",
    "fake": "services.gemma.engines.fake:FakeLanguage",
}


@dataclass(frozen=True)
class Capabilities:
    """What a language engine is."""

    model: str
    context_tokens: int


@dataclass(frozen=True)
class Sampling:
    """Closed and bounded: nothing else reaches the sampler."""

    max_tokens: int = 256
    temperature: float = 0.2
    top_p: float = 0.95
    repeat_penalty: float = 1.1


@dataclass(frozen=True)
class Turn:
    """One message of the prompt; `role` is system, user or assistant."""

    role: str
    content: str


class LanguageEngine(Protocol):
    """Blocking, one answer at a time."""

    capabilities: Capabilities

    def __init__(self, settings: Any) -> None: ...

    def count(self, text: str) -> int:
        """Tokens of a text."""
        ...

    def write(self, turns: Sequence[Turn], sampling: Sampling) -> Iterator[str]:
        """Pieces of the answer as they come; closing the iterator stops the model."""
        ...
