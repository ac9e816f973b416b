"""OpenAI's wire for embeddings, as its API reference has it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StringConstraints, WithJsonSchema
from pydantic_core import PydanticCustomError

from shared.schemas.wire import Request, Wire

INPUTS = 2048
"""Texts of one call for embeddings, as many as OpenAI takes."""


def _as_texts(given: Any) -> Any:
    texts = [given] if isinstance(given, str) else given
    if isinstance(texts, list) and texts and isinstance(texts[0], int | list):
        raise PydanticCustomError("tokens", "tokens of another model mean nothing here; send the text itself")
    return texts


_INPUT = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "maxItems": INPUTS}]}
Texts = Annotated[
    list[Annotated[str, StringConstraints(min_length=1)]],
    Field(min_length=1, max_length=INPUTS),
    BeforeValidator(_as_texts),
    WithJsonSchema(_INPUT),
]


class EmbeddingRequest(Request):
    model: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    input: Texts
    encoding_format: Literal["float", "base64"] = "float"
    """base64: of the float32 values, lowest byte first."""
    dimensions: Annotated[int, Field(ge=1)] | None = None
    """The model's own number; no other."""
    user: str | None = None
    """Ignored."""


class Embedding(Wire):
    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class EmbeddingUsage(Wire):
    prompt_tokens: int
    total_tokens: int


class EmbeddingList(Wire):
    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: EmbeddingUsage
