"""What changed since a client last asked, for clients that keep a copy."""

from __future__ import annotations

from typing import Literal

from shared.schemas.rag import ConversationSummary, Memory
from shared.schemas.speakers import EnrolledSpeaker
from shared.schemas.transcription import TranscriptSummary
from shared.schemas.wire import Page, Wire

Kind = Literal["recording", "memory", "conversation", "speaker"]


class Change(Wire):
    """A thing as it is now; of the fields below `deleted` the one of its kind is set."""

    kind: Kind
    id: str
    deleted: bool = False
    """True: it is gone, or not to be shown any more."""
    recording: TranscriptSummary | None = None
    memory: Memory | None = None
    conversation: ConversationSummary | None = None
    speaker: EnrolledSpeaker | None = None


class Changes(Wire):
    """Of one service, in the order in which they happened."""

    data: list[Change]
    position: int
    """Give it back as `after`."""
    origin: str
    """Another one where positions have begun anew, after a restore for example."""
    has_more: bool


class SyncPage(Page[Change]):
    """Apply the changes in their order, then keep `next_cursor`, which is always there."""
