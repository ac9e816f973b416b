"""Chat over a user's memory."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from shared.schemas.ids import ConversationId
from shared.schemas.rag import Citation, Evidence
from shared.schemas.wire import Request, Wire


class ChatRequest(Request):
    message: Annotated[str, StringConstraints(min_length=1, max_length=32_000, strip_whitespace=True)]
    include_context: bool = True
    """False: the model answers without looking into the vault."""
    max_tokens: Annotated[int, Field(ge=1, le=4096)] = 256
    conversation_id: ConversationId | None = None
    stream: bool = False
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.2


class Usage(Wire):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0


class Timings(Wire):
    retrieval_s: float = 0.0
    first_token_s: float | None = None
    total_s: float = 0.0


class ContextUse(Wire):
    """What the language model was given to read, and what there was no room for."""

    memories: int = 0
    memories_left_out: int = 0
    turns: int = 0
    """Earlier turns of the conversation."""
    turns_left_out: int = 0
    prompt_tokens: int = 0
    context_tokens: int = 0
    """Most that the model reads at once, prompt and answer together."""


class ChatResponse(Wire):
    """The answer and the seconds of audio that prove it."""

    response: str
    conversation_id: str
    message_id: str
    citations: list[Citation]
    evidence: list[Evidence] = Field(default_factory=list)
    """Sentence by sentence; empty where the answer is not from memory."""
    context: ContextUse | None = None
    """None while no language model took part."""
    usage: Usage
    model: str
    """`extractive` while no language model is loaded."""
    timings: Timings
    notice: str | None = None
    """Why the answer is extractive, for a reader."""
