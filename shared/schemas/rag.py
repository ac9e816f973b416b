"""Memories, search and conversations of one user's vault."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from shared.schemas.transcription import Tag, Title
from shared.schemas.wire import Moment, Request, Wire

Content = Annotated[str, StringConstraints(min_length=1, max_length=200_000, pattern=r"\S")]
MemoryType = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]
SpeakerKey = Annotated[str, StringConstraints(min_length=1, max_length=200)]
ComparedText = Annotated[str, StringConstraints(min_length=1, max_length=2_000)]
SearchMode = Literal["hybrid", "vector", "text"]


class NewMemory(Request):
    content: Content
    title: Title | None = None
    tags: Annotated[list[Tag], Field(max_length=50)] = Field(default_factory=list)
    memory_type: MemoryType = "note"
    occurred_at: Moment | None = None
    """When it happened; the moment of saving when absent."""


class EditMemory(Request):
    """Absent fields stay as they are; a title of null takes the title away."""

    content: Content | None = None
    title: Title | None = None
    tags: Annotated[list[Tag], Field(max_length=50)] | None = None
    memory_type: MemoryType | None = None
    occurred_at: Moment | None = None


class Memory(Wire):
    """Something that is remembered, and where it came from."""

    memory_id: str
    content: str
    title: str | None = None
    tags: list[str] = Field(default_factory=list)
    memory_type: str
    occurred_at: datetime
    created_at: datetime
    updated_at: datetime
    revision: int = 1
    transcript_id: str | None = None
    segment_id: str | None = None
    start_s: float | None = None
    end_s: float | None = None
    speaker: str | None = None


class SearchRequest(Request):
    """What to look for. A filter that is absent or empty lets everything pass; within one, any match does."""

    query: Annotated[str, StringConstraints(min_length=1, max_length=4_000, strip_whitespace=True)]
    top_k: Annotated[int, Field(ge=1, le=100)] = 5
    mode: SearchMode = "hybrid"
    types: Annotated[list[MemoryType], Field(max_length=50)] | None = None
    tags: Annotated[list[Tag], Field(max_length=50)] | None = None
    speakers: Annotated[list[SpeakerKey], Field(max_length=50)] | None = None
    """Names, speaker ids or labels, in any case of letters."""
    from_: Moment | None = Field(default=None, alias="from")
    to: Moment | None = None


class HitMetadata(Wire):
    memory_id: str
    memory_type: str
    title: str | None = None
    tags: list[str] = Field(default_factory=list)
    transcript_id: str | None = None
    segment_id: str | None = None
    start_s: float | None = None
    end_s: float | None = None
    speaker: str | None = None
    document_id: str | None = None
    page: int | None = None
    """Of a PDF, from 1."""
    offset: int | None = None
    """Where the passage begins in the document's text, in characters."""
    end_offset: int | None = None
    created_at: datetime
    occurred_at: datetime | None = None
    similarity: float | None = None
    """Cosine of query and passage, -1 to 1; None in mode `text`."""


class SearchHit(Wire):
    """One passage that answers the query; higher scores are better, comparable within one answer only."""

    content: str
    score: float
    metadata: HitMetadata


class Citation(Wire):
    """The evidence for an answer: what was said, where and when."""

    memory_id: str
    transcript_id: str | None = None
    start_s: float | None = None
    end_s: float | None = None
    speaker: str | None = None
    document_id: str | None = None
    page: int | None = None
    offset: int | None = None
    """Where the passage begins in the document's text, in characters."""
    quote: str
    score: float
    occurred_at: datetime | None = None
    """When it was said or written."""
    superseded_by: int | None = None
    """The number of the citation (from 1) that says otherwise and is newer."""
    related: bool = False
    """The nearest that was found, shown as such: what was asked for is not in it."""


Verdict = Literal["supported", "contradicted", "unsupported"]


class QuoteMatch(Wire):
    """Words between quotation marks in an answer, and where they were said."""

    quote: str
    match: Literal["exact", "close", "none"]
    """`close`: most of its words stand in a row there; `none`: nobody said it."""
    citation: int | None = None
    """The number of the citation (from 1) that holds it, with its seconds."""


class Evidence(Wire):
    """What stands behind one sentence of an answer."""

    sentence: str
    start: int
    """Where in the answer it begins, in characters."""
    end: int
    verdict: Verdict
    """`contradicted`: the citation states it otherwise. `unsupported`: it is not in what was found."""
    method: str
    """How it was checked: `exact`, `words+numbers` or `words+numbers+embedding`."""
    citation: int | None = None
    """The number of the citation (from 1) that supports or contradicts it."""
    score: float
    """0 to 1: how much of the sentence stands in its source."""
    why: str | None = None
    """What differs or is missing: number, time, day, name, negation, opposite, quote, words."""
    quotes: list[QuoteMatch] = Field(default_factory=list)


class SimilarityRequest(Request):
    """Texts to be compared with each other."""

    texts: Annotated[list[ComparedText], Field(min_length=1, max_length=64)]
    others: Annotated[list[ComparedText], Field(min_length=1, max_length=256)]


class Message(Wire):
    """One turn of a conversation."""

    message_id: str
    role: Literal["user", "assistant"]
    content: str
    created_at: datetime
    citations: list[Citation] = Field(default_factory=list)
    evidence: list[Evidence] = Field(default_factory=list)
    model: str | None = None
    status: Literal["complete", "streaming", "cancelled", "failed"] = "complete"


class Conversation(Wire):
    conversation_id: str
    title: str
    created_at: datetime
    updated_at: datetime
    revision: int = 1
    messages: list[Message] = Field(default_factory=list)


class ConversationSummary(Wire):
    conversation_id: str
    title: str
    created_at: datetime
    updated_at: datetime
    revision: int = 1


class NewConversation(Request):
    title: Title


class EditConversation(Request):
    title: Title
