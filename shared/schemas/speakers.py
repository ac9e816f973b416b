"""Speakers whom a user named, and their voices."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from shared.schemas.transcription import Notice, Transcript
from shared.schemas.wire import Request, Wire

SpeakerId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
SpeakerName = Annotated[str, StringConstraints(min_length=1, max_length=100, strip_whitespace=True)]
Label = Annotated[str, StringConstraints(pattern=r"^SPEAKER_\d{2,3}$")]


class EnrolledSpeaker(Wire):
    """Somebody whose voice is known. Identity by voice is a convenience, never authentication."""

    speaker_id: str
    name: str
    embeddings: int
    """Samples of the voice."""
    seconds: float
    """Speech in all samples."""
    quality: float
    """0 to 1; below 0.5 more or cleaner samples will help."""
    created_at: datetime
    updated_at: datetime
    revision: int = 1


class Enrolment(Wire):
    """What a new sample brought."""

    speaker: EnrolledSpeaker
    seconds: float
    """Speech in this sample."""
    quality: float
    detail: str
    """For a reader: what it is worth, and what would make it better."""


class EditSpeaker(Request):
    name: SpeakerName
    preview: bool = False
    """True: change nothing, only tell in which recordings the name would change."""


class SpeakerOfLabel(Request):
    """Who a label of a recording is: a known speaker by id, or a name for somebody new. Neither: nobody known."""

    label: Label
    speaker_id: SpeakerId | None = None
    name: SpeakerName | None = None
    enroll: bool = True
    """Also learn the voice from this recording, so that it is recognised in others."""


class AssignSpeakers(Request):
    """Names for the speakers of one recording."""

    speakers: Annotated[list[SpeakerOfLabel], Field(min_length=1, max_length=50)]
    preview: bool = False
    """True: change nothing, only tell what would change here and in earlier recordings."""
    relabel: Annotated[list[str], Field(max_length=500)] = Field(default_factory=list)
    """Earlier recordings, out of those that the preview named, in which the same voices get the names too."""

    @model_validator(mode="after")
    def _each_once(self) -> AssignSpeakers:
        labels = [each.label for each in self.speakers]
        if len(set(labels)) < len(labels):
            raise ValueError("a label may be named once only")
        return self


class Relabelling(Wire):
    """An earlier recording in which a voice sounds like somebody who was named now."""

    transcript_id: str
    title: str
    created_at: datetime
    label: str
    name_now: str | None
    speaker_id: str
    name: str
    confidence: float
    """Cosine of the voices, 0 to 1."""
    talk_s: float


class SpeakersAssigned(Wire):
    """The recording with its names, and earlier ones in which they may be used too."""

    transcript: Transcript
    relabelling: list[Relabelling] = Field(default_factory=list)
    """Earlier recordings in which the same voices are heard: name them in `relabel` to use the names there too."""
    relabelled: list[Relabelling] = Field(default_factory=list)
    """Those in which the names are used now."""
    warnings: list[Notice] = Field(default_factory=list)
    undo_id: str | None = None
    """`POST /transcription/speakers/undo/{undo_id}` takes all of it back; None where nothing was changed."""


class SpeakerEdited(Wire):
    """The speaker with the new name, and the recordings that carry it (or would, in a preview)."""

    speaker: EnrolledSpeaker
    recordings: list[str] = Field(default_factory=list)
    undo_id: str | None = None


class Undone(Wire):
    """What was taken back."""

    recordings: list[str] = Field(default_factory=list)
    """Those whose speakers are again what they were."""
    skipped: list[str] = Field(default_factory=list)
    """Those whose speakers were named anew since, and those that were deleted: they are left as they are."""
