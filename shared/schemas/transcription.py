"""Speech to text: recordings, transcripts and their parts."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from shared.schemas.wire import Request, Wire

Status = Literal["live", "queued", "processing", "completed", "failed", "cancelled"]
"""`live`: its sound is still coming."""
Channels = Literal["auto", "mono", "separate"]
ExportFormat = Literal["json", "txt", "md", "srt", "vtt", "rttm", "csv"]
Tag = Annotated[str, StringConstraints(min_length=1, max_length=64, strip_whitespace=True)]
Title = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]


class Word(Wire):
    """One word and when it was said, in seconds from the start of the recording."""

    word: str
    start_s: float
    end_s: float
    confidence: float
    aligned: bool = True
    """False where the time was guessed between neighbours."""


class SpanMetrics(Wire):
    """How a stretch of speech sounded, measured on the samples."""

    rms_db: float
    pitch_mean_hz: float | None = None
    pitch_std_hz: float | None = None
    speaking_rate_wpm: float | None = None
    pause_ratio: float = 0.0
    arousal: float | None = None
    """0 is calm, 1 is excited, compared with the same speaker's other segments; None where there are too few."""


class SpanEmotion(Wire):
    """The strongest of the seven labels, of words and voice together."""

    label: str
    score: float
    confidence: float | None = None
    """0 to 1: how far the label may be trusted; below 0.5 say "unsure"."""
    agreement: float | None = None
    """0 to 1: how well the voice fits what the words say; None where only the words were looked at."""
    metrics: SpanMetrics | None = None


class Segment(Wire):
    """A stretch of speech by one speaker."""

    segment_id: str
    start_s: float
    end_s: float
    speaker: str
    channel: int = 0
    text: str
    confidence: float
    words: list[Word] = Field(default_factory=list)
    overlap: bool = False
    """True where somebody else talks at the same time for a part of it; its words may be wrong or another's."""
    emotion: SpanEmotion | None = None


class Speaker(Wire):
    """Somebody heard in a recording; `speaker_id` and `name` are None while unknown."""

    label: str
    speaker_id: str | None = None
    name: str | None = None
    confidence: float | None = None
    method: Literal["voiceprint", "channel", "manual", "unknown"] = "unknown"
    talk_s: float = 0.0


class Notice(Wire):
    """Something that did not stop the work but that a reader should know."""

    code: str
    detail: str


class Models(Wire):
    """The names of the weights that took part."""

    asr: str | None = None
    speaker: str | None = None
    emotion: str | None = None


class Metadata(Wire):
    processing_s: float | None = None
    realtime_factor: float | None = None
    """Processing time divided by the length of the audio."""
    models: Models = Field(default_factory=Models)


class Transcript(Wire):
    """A recording and what was said in it."""

    transcript_id: str
    status: Status
    title: str
    context: str | None = None
    language: str | None = None
    duration_s: float | None = None
    text: str = ""
    channels: int | None = None
    created_at: datetime
    revision: int = 1
    tags: list[str] = Field(default_factory=list)
    job_id: str | None = None
    """The job that makes or made it; `GET /jobs/{job_id}` shows its progress."""
    error: str | None = None
    """Why it failed, for a reader."""
    error_code: str | None = None
    """The same for a program: a `code` as in an error's answer."""
    speakers: list[Speaker] = Field(default_factory=list)
    segments: list[Segment] = Field(default_factory=list)
    warnings: list[Notice] = Field(default_factory=list)
    metadata: Metadata = Field(default_factory=Metadata)


class StoredSound(Wire):
    """The sound of a recording as it was put back."""

    size_bytes: int
    sha256: str


class TranscriptSummary(Wire):
    """One line of the list: a transcript without its segments."""

    transcript_id: str
    status: Status
    title: str
    context: str | None = None
    language: str | None = None
    duration_s: float | None = None
    preview: str = ""
    """The first 200 characters of the text."""
    created_at: datetime
    revision: int = 1
    tags: list[str] = Field(default_factory=list)
    job_id: str | None = None
    speakers: list[Speaker] = Field(default_factory=list)
    emotion: str | None = None
    """The label that most of the speech carries."""
    error: str | None = None


class EditTranscript(Request):
    """What a user may change; absent fields stay."""

    title: Title | None = None
    tags: Annotated[list[Tag], Field(max_length=50)] | None = None


class UploadAccepted(Wire):
    """The recording is safe on disk and is waiting for its turn."""

    transcript_id: str
    job_id: str
    status: Status


class AudioLink(Wire):
    """Where a player that sends no headers finds the sound of one recording."""

    url: str
    """Path and query; who has it may listen, so it belongs into no log and no history."""
    expires_in: int
    """Seconds that it is good for, and no longer than the session that asked for it."""


class Waveform(Wire):
    """What a recording looks like."""

    duration_s: float
    channels: int
    points: int
    """As many as asked for; fewer where the sound is too short for so many."""
    peaks: list[list[float]]
    """Per channel `lowest, highest, lowest, ...` in [-1, 1], two numbers a point."""


class ClipTranscript(Wire):
    """Speech to text of a short clip that is not kept (service to service)."""

    text: str
    language: str | None
    duration_s: float
    segments: list[Segment]
    model: str
