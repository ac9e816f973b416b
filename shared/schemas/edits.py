"""Edits of a transcript, and the revisions that they leave."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from shared.schemas.transcription import Speaker
from shared.schemas.wire import Request, Wire

SegmentText = Annotated[str, StringConstraints(max_length=20_000, strip_whitespace=True, pattern=r"^[^\x00]*$")]
SpeakerLabel = Annotated[str, StringConstraints(min_length=1, max_length=64)]
RevisionKind = Literal[
    "transcribed", "details", "text", "speaker", "text_and_speaker", "split", "merge", "speakers", "revert"
]


class EditSegment(Request):
    """What a user may change of one segment; absent fields stay. An empty text deletes its words."""

    text: SegmentText | None = None
    """Unchanged words keep their times; new ones share the time between their neighbours."""
    speaker: SpeakerLabel | None = None
    """A label of this transcript, or a new one of the form SPEAKER_07."""

    @model_validator(mode="after")
    def _something(self) -> EditSegment:
        if self.text is None and self.speaker is None:
            raise ValueError("say what to change: text, speaker or both")
        return self


class SplitSegment(Request):
    """Where to cut a segment in two: before a word, or at a moment. One of the two."""

    at_word: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """Index of the word that begins the second part; words are counted from 0."""
    at_s: Annotated[float, Field(ge=0)] | None = None
    """Seconds from the start of the recording; a word goes to the side on which its middle lies."""

    @model_validator(mode="after")
    def _one_of_two(self) -> SplitSegment:
        if (self.at_word is None) == (self.at_s is None):
            raise ValueError("say either at_word or at_s")
        return self


class MergeSegments(Request):
    """Join a segment with the next one of the transcript."""

    force: bool = False
    """Also where the next one is another speaker's; all of it is then the first one's."""


class Revert(Request):
    """Take a transcript back to what it was; the way there is a revision too, so nothing is lost."""

    revision: Annotated[int, Field(ge=1, lt=1_000_000_000)]


class ChangeSpeakers(Request):
    """Who the labels of a transcript are, in one revision (service to service)."""

    speakers: Annotated[list[Speaker], Field(max_length=200)]
    """Name, id, confidence and method are taken over by label; labels that are not named here stay as they are."""
    segments: Annotated[dict[str, SpeakerLabel], Field(max_length=100_000)] | None = None
    """New labels of segments, by segment id."""


class Revision(Wire):
    """One state of a transcript, and what made it."""

    revision: int
    at: datetime
    kind: RevisionKind
    segment_id: str | None = None
    """The segment that was changed, where it was one."""
    undoable: bool
    """True where the state before it is kept, so that this change can be taken back."""
