"""Calls of two people, one a channel: the call-centre family below `/api/v1`."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from shared.schemas.transcription import Notice, Status
from shared.schemas.wire import Wire

Side = Literal["left", "right"]
Sentiment = Literal["positive", "neutral", "negative"]


class CallSegment(Wire):
    """Times in seconds from the beginning; left is the first channel."""

    speaker: Side
    start_time: float
    end_time: float
    text: str
    confidence: float


class CallTranscript(Wire):
    segments: list[CallSegment]


class CallSummary(Wire):
    """What of the call's own sentences says most."""

    text: str
    key_points: list[str]
    sentiment: Sentiment | None
    """None where no emotion is known."""


class CallMetadata(Wire):
    duration: float | None
    """Seconds."""
    processing_time: float | None
    """Seconds."""
    model_versions: dict[str, str]


class Call(Wire):
    """One call; until its status is `completed` the transcript is what there is so far."""

    session_id: str
    status: Status
    transcript: CallTranscript
    summary: CallSummary | None
    """None until it is completed."""
    metadata: CallMetadata
    warnings: list[Notice] = Field(default_factory=list)
    error: str | None = None


class CallLine(Wire):
    """One line of the list."""

    session_id: str
    status: Status
    created_at: datetime
    duration: float | None
    error: str | None = None


class CallList(Wire):
    data: list[CallLine]
    limit: int
    offset: int
    has_more: bool


class CallAccepted(Wire):
    """The call is safe on disk; `Location` says where its transcript will be."""

    session_id: str
    status: Status
