"""Summaries of recordings: every point with the span that it rests on, and how much of the recording was read."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from shared.schemas.rag import Verdict
from shared.schemas.wire import Request, Wire

SummaryMode = Literal["extractive", "model"]
SummaryTemplate = Literal["meeting", "interview", "voice_note", "lecture"]
Sentiment = Literal["positive", "neutral", "negative"]


class SummaryRequest(Request):
    """`extractive` answers at once in the words of the recording; `model` has the language model word it."""

    mode: SummaryMode = "extractive"
    template: SummaryTemplate = "meeting"
    prompt: Annotated[str, StringConstraints(min_length=1, max_length=500, strip_whitespace=True)] | None = None
    """What the language model is to look for; in mode `model` only."""

    @model_validator(mode="after")
    def _for_the_model(self) -> SummaryRequest:
        if self.prompt is not None and self.mode != "model":
            raise ValueError("a prompt is for mode `model`; leave it out or change the mode")
        return self


class SummaryPoint(Wire):
    """One statement and where it was said."""

    text: str
    segment_ids: list[str]
    start_s: float
    end_s: float
    speaker: str
    quote: str
    """The words of the recording that it rests on."""
    verdict: Verdict = "supported"


class ActionItem(SummaryPoint):
    """Something that somebody took on or was asked to do."""

    assignee: str | None = None
    due: str | None = None
    """As it was said: "by Friday"."""


class CoveredChunk(Wire):
    """A stretch that was read in one go."""

    first_segment_id: str
    last_segment_id: str
    start_s: float
    end_s: float
    sentences: int
    points: int
    """Statements that went on from it to the next round."""
    dropped: int = 0
    """Sentences of the language model that the recording does not support."""
    method: SummaryMode


class Coverage(Wire):
    """How much of the recording the summary is made of; nothing is left out unsaid."""

    segments: int
    segments_read: int
    seconds: float
    """Of speech."""
    seconds_read: float
    share: float
    """Segments read of all, 0 to 1; 1 where nothing was said."""
    rounds: int
    """Times that points were brought together before they fitted."""
    claims_left_out: int = 0
    """Statements that could be checked and are not listed."""
    chunks: list[CoveredChunk]


class Summary(Wire):
    """What was said in a recording, in short."""

    transcript_id: str
    transcript_revision: int
    """Of the transcript that was read."""
    stale: bool = False
    """The transcript was changed since."""
    mode: SummaryMode
    """`extractive` also where no language model was there for mode `model`; then the notice says why."""
    model: str | None = None
    template: SummaryTemplate
    prompt: str | None = None
    notice: str | None = None
    text: str
    key_points: list[SummaryPoint] = Field(default_factory=list)
    action_items: list[ActionItem] = Field(default_factory=list)
    sentiment: Sentiment | None = None
    """Of the emotions of the recording, by time of talk; None where none are known."""
    claims: list[SummaryPoint] = Field(default_factory=list)
    """Statements that can be checked: with a number, a date or a name."""
    coverage: Coverage
    created_at: datetime


class SummaryAccepted(Wire):
    """The language model is at work; `GET /jobs/{job_id}` shows its progress."""

    transcript_id: str
    job_id: str
    status: Literal["queued"] = "queued"
