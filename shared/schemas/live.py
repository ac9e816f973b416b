"""The live stream: what a client and the platform say to each other, one JSON object a text frame."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, TypeAdapter

from shared.schemas.transcription import Segment, Tag, Title, Word
from shared.schemas.wire import Request, Wire

CLOSE_TAKEN_OVER, CLOSE_REFUSED, CLOSE_TOO_SLOW, CLOSE_LOCKED = 4409, 4400, 4408, 4423
"""Why a socket was closed: another took the stream over; what was sent makes no sense; the client does not read."""


class Start(Request):
    """The first message. After it come binary frames of sound, of any length up to 1 MiB."""

    type: Literal["start"]
    format: Literal["pcm_s16le"] = "pcm_s16le"
    sample_rate_hz: Annotated[int, Field(ge=8_000, le=48_000)] = 16_000
    channels: Annotated[int, Field(ge=1, le=2)] = 1
    """2: interleaved; each channel is transcribed by itself."""
    title: Title | None = None
    context: Annotated[str, StringConstraints(max_length=2000, strip_whitespace=True)] | None = None
    language: Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}$")] | None = None
    diarize: bool = True
    emotion: bool = True
    remember: bool = True
    num_speakers: Annotated[int, Field(ge=1, le=20)] | None = None
    min_speakers: Annotated[int, Field(ge=1, le=20)] | None = None
    max_speakers: Annotated[int, Field(ge=1, le=20)] | None = None
    channel_labels: Annotated[str, StringConstraints(max_length=1000)] | None = None
    hotwords: Annotated[str, StringConstraints(max_length=1000)] | None = None
    redact: Annotated[str, StringConstraints(max_length=100)] | None = None
    """Kinds to take out of the text, as in an upload. No partials are sent then."""
    tags: Annotated[list[Tag], Field(max_length=50)] = Field(default_factory=list)
    resume_token: Annotated[str, StringConstraints(max_length=200)] | None = None
    """Goes on with a dropped session: all else is as it was, what else is said here is not looked at."""
    keep: bool = True
    """False: words only. Sound and words stay in memory while they are needed, no recording comes of it, and a dropped
    session cannot be gone on with."""
    quiet: bool = False
    """Also tell `quiet`."""
    last_seq: Annotated[int, Field(ge=0, le=2**53)] = 0
    """The last `seq` that was received: finals after it are sent again."""


class Flush(Request):
    """Whoever is speaking has ended: do not wait for the pause."""

    type: Literal["flush"]


class Stop(Request):
    """No more sound comes. `end` follows the last final."""

    type: Literal["stop"]


Said = Annotated[Start | Flush | Stop, Field(discriminator="type")]
SAID: TypeAdapter[Start | Flush | Stop] = TypeAdapter(Said)


class Event(Wire):
    """Numbered in their order; after a resume numbers go on."""

    seq: int = 0


class Ready(Event):
    type: Literal["ready"] = "ready"
    transcript_id: str | None = None
    """None, as the token, where nothing is kept."""
    resume_token: str | None = None
    resumed: bool = False
    audio_ms: int = 0
    """Sound that is durable: a client that resumes sends what comes after it."""
    sample_rate_hz: int
    channels: int
    partials: bool
    """False where none will be sent."""


class Vad(Event):
    """Somebody began or ended speaking."""

    type: Literal["vad"] = "vad"
    state: Literal["speech", "silence"]
    at_s: float
    channel: int = 0


class Partial(Event):
    """What is being said. Join all `settled` of an utterance, then the latest `text`."""

    type: Literal["partial"] = "partial"
    utterance: int
    channel: int = 0
    start_s: float
    settled: str
    """Words that two looks in a row agreed on; new ones only, they stay until the final."""
    text: str
    """Words after the settled ones that may still change."""


class Final(Event):
    """A stretch of speech as it stays; takes the place of the partials of its utterance."""

    type: Literal["final"] = "final"
    utterance: int
    segment_id: str
    start_s: float
    end_s: float
    speaker: str
    name: str | None = None
    """Of an enrolled speaker who was recognised."""
    channel: int = 0
    text: str
    confidence: float
    words: list[Word] = Field(default_factory=list)

    @classmethod
    def of(cls, segment: Segment, utterance: int, name: str | None) -> Final:
        values = segment.model_dump(include=set(cls.model_fields) & set(Segment.model_fields))
        return cls(utterance=utterance, name=name, **values)


class Relabelled(Wire):
    segment_id: str
    speaker: str
    name: str | None = None


class Revise(Event):
    """Finals that turned out to be somebody else's."""

    type: Literal["revise"] = "revise"
    segments: list[Relabelled]


class Ack(Event):
    """So much sound is on the disk and will not be lost."""

    type: Literal["ack"] = "ack"
    audio_ms: int


class Quiet(Event):
    """Nobody is speaking, and the finals of all that was said are told; only where `start` asked for it."""

    type: Literal["quiet"] = "quiet"
    audio_ms: int
    """Sound that had come by then. A `flush` is answered by one that covers all sound before it."""


class Warned(Event):
    """`falling_behind`, `caught_up`, `model_not_ready`, `longest_reached`: something that did not stop the stream."""

    type: Literal["warning"] = "warning"
    code: str
    detail: str
    lag_s: float | None = None


class Failed(Event):
    """What cannot be done, and why; the socket closes after it where nothing else can be done."""

    type: Literal["error"] = "error"
    code: str
    detail: str


class End(Event):
    """The recording is stored; its speakers, emotions and a last reading of the words follow as a job.

    Where nothing is kept there is neither, and this only says that all words were told."""

    type: Literal["end"] = "end"
    transcript_id: str | None = None
    job_id: str | None = None
    audio_ms: int
    duration_s: float
