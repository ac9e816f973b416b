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
    top_k: int = 40
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    schema: str | None = None
    """A JSON schema as text, which the answer must follow."""


@dataclass(frozen=True)
class Turn:
    """One message of the prompt; `role` is system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True)
class Piece:
    """A bit of the answer; its text is empty while the prompt is read or a character is not whole yet."""

    text: str
    written: int
    """Tokens of the answer so far."""
    finish: str | None = None
    """On the last piece why it is the last: `stop`, or `length` where the answer was cut."""
    read: int | None = None
    """On the last piece: tokens of the prompt, where the engine counts them better than its ruler."""


class Open(tuple[Turn, ...]):
    """Turns that hold nothing of any vault, so that they may leave the machine; all others may not."""

    __slots__ = ()


class Ruler(Protocol):
    """What a prompt is cut to."""

    capabilities: Capabilities

    def length(self, turns: Sequence[Turn]) -> int:
        """Tokens of the whole prompt."""
        ...


class LanguageEngine(Protocol):
    """Blocking. Many answers at once, each read by a thread of its own."""

    capabilities: Capabilities

    def __init__(self, settings: Any) -> None: ...

    @staticmethod
    def missing(settings: Any) -> str | None:
        """What keeps it from being loaded, as a sentence for a reader; None where nothing does."""
        ...

    def length(self, turns: Sequence[Turn]) -> int:
        """Tokens of the whole prompt."""
        ...

    def write(self, turns: Sequence[Turn], sampling: Sampling, so_far: str = "") -> Iterator[Piece]:
        """The answer as it comes, after what there is of it; closing the iterator stops the model.

        While the prompt waits or is read the pieces are empty. Raises TooLarge where the prompt does not fit, and
        Invalid for a sampling that is out of bounds or a schema that cannot be followed.
        """
        ...

    def close(self) -> None:
        """Free the memory; answers in the making end with ModelLost. It is not used again."""
        ...
