"""Chat over a user's memory."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from shared.schemas.ids import ConversationId
from shared.schemas.rag import Citation
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


class ChatResponse(Wire):
    """The answer and the seconds of audio that prove it."""

    response: str
    conversation_id: str
    message_id: str
    citations: list[Citation]
    usage: Usage
    model: str
    """`extractive` while no language model is loaded."""
    timings: Timings
    notice: str | None = None
    """Why the answer is extractive, for a reader."""
