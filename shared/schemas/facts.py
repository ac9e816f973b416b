"""Facts: what the memory learnt by itself, and what a user says to each; the audit and the map of a memory."""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal

from pydantic import Field

from shared.schemas.wire import Wire

FactKind = Literal[
    "identity", "work", "health", "preference", "relation", "possession", "contact", "number", "decision", "commitment",
    "plan",
]  # fmt: skip
FactState = Literal["active", "pending", "quarantined", "rejected", "superseded"]
"""`active`: found by search. `pending`: waits for its user. `quarantined`: reads like an order to a machine.
`superseded`: something newer holds. Only active ones have words and vectors in the index."""


class FactEvidence(Wire):
    """Where a fact was said, to the second where it was heard."""

    source: Literal["transcript", "conversation"]
    transcript_id: str | None = None
    segment_ids: list[str] = Field(default_factory=list)
    start_s: float | None = None
    end_s: float | None = None
    conversation_id: str | None = None
    message_id: str | None = None
    said_by: str
    said_at: datetime
    quote: str
    """To the letter as it stands in the source."""


class Fact(Wire):
    """One statement, whose it is, since when it holds, and the evidence for it."""

    memory_id: str
    content: str
    kind: FactKind
    subject: str
    """Whom it is about: a name, a label of a recording, or `You` for what you wrote."""
    slot: str | None = None
    """What its subject has one of at a time; None where several hold side by side."""
    value: str
    state: FactState
    reasons: list[str] = Field(default_factory=list)
    """What the gate doubted, by the names of its checks."""
    confidence: float
    valid_from: datetime
    valid_to: datetime | None = None
    on_date: date | None = None
    """The day that it speaks of, where that can be told, counted in UTC from the day it was said."""
    superseded_by: str | None = None
    undoable: bool = False
    """Whether `POST /rag/facts/{memory_id}/undo` would take back what its user last decided."""
    tags: list[str] = Field(default_factory=list)
    evidence: list[FactEvidence] = Field(default_factory=list)
    created_at: datetime
    updated_at: datetime
    revision: int = 1


class Likeness(Wire):
    """Two memories that say the same, or facts that cannot both hold."""

    memory_ids: tuple[str, str]
    similarity: float | None = None
    """Cosine; None where the words themselves are the reason."""
    reason: str


class Orphan(Wire):
    """Something whose owner is gone."""

    kind: Literal["fact_without_source", "evidence_without_source", "chunk_without_memory", "dangling_successor"]
    id: str


class IndexState(Wire):
    chunks: int
    """Passages in the vault."""
    indexed: int
    """Those that the vectors in memory know."""
    stale: int
    """Those that another model embedded: found by words only until `POST /rag/rebuild-index`."""


class Audit(Wire):
    """What a careful reader would find in a memory; at most 200 of each, and `truncated` says if there is more."""

    memories: int
    facts: dict[FactState, int]
    duplicates: list[Likeness]
    contradictions: list[Likeness]
    loops: list[list[str]]
    """Facts that are each other's successors."""
    orphans: list[Orphan]
    index: IndexState
    truncated: bool = False


class Repair(Wire):
    """What was put right; nothing that anybody said was removed."""

    done: dict[str, int]
    """How many, by kind of orphan."""


class Node(Wire):
    id: str
    kind: Literal["person", "recording", "fact", "note", "tag"]
    label: str


class Edge(Wire):
    source: str
    target: str
    kind: Literal["spoke_in", "said_in", "about", "tagged", "superseded_by"]


class Graph(Wire):
    """The memory map: newest first, as many nodes as were asked for."""

    nodes: list[Node]
    edges: list[Edge]
    truncated: bool = False
