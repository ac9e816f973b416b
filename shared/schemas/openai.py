"""OpenAI's wire for audio and models, as its API reference has it; what we add is said where it is."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, ValidationInfo
from pydantic_core import PydanticCustomError

from shared.schemas.wire import Wire

Granularity = Literal["word", "segment"]
SpeechFormat = Literal["json", "text", "srt", "verbose_json", "vtt", "diarized_json"]
Count = Annotated[int, Field(ge=1, le=20)]
Keyword = Annotated[str, StringConstraints(max_length=100)]


def _not_below_least(most: int, fields: ValidationInfo) -> int:
    least = fields.data.get("min_speakers")
    if least is not None and least > most:
        raise PydanticCustomError("below_least", "must not be less than min_speakers")
    return most


MostSpeakers = Annotated[Count, AfterValidator(_not_below_least)]


class AudioForm(Wire):
    """The fields beside the file; unknown ones are ignored, as OpenAI does."""

    model: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    language: str | None = None
    """ISO 639-1, or the English name."""
    prompt: Annotated[str, StringConstraints(max_length=10_000)] = ""
    """Words to expect; an engine without vocabulary does without."""
    keywords: list[Keyword] = Field(default_factory=list, max_length=100)
    response_format: SpeechFormat = "json"
    temperature: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Accepted; our engines choose it themselves, as OpenAI's do for 0."""
    timestamp_granularities: list[Granularity] = Field(default_factory=list)
    include: list[str] = Field(default_factory=list)
    stream: bool = False
    num_speakers: Count | None = None
    """Ours, as are the next two: how many people talk, where that is known."""
    min_speakers: Count | None = None
    max_speakers: MostSpeakers | None = None


class DiarizationForm(Wire):
    """Ours: who speaks when, without words."""

    response_format: Literal["json", "rttm"] = "json"
    num_speakers: Count | None = None
    min_speakers: Count | None = None
    max_speakers: MostSpeakers | None = None


class DurationUsage(Wire):
    type: Literal["duration"] = "duration"
    seconds: int


class Logprob(Wire):
    """Of one word: our engines do not tell of tokens."""

    token: str
    logprob: float
    bytes: list[int]


class AudioText(Wire):
    """`response_format=json`."""

    text: str
    logprobs: list[Logprob] | None = None
    usage: DurationUsage


class TimedWord(Wire):
    word: str
    start: float
    end: float


class TimedSegment(Wire):
    """What an engine does not tell is neutral: no tokens, `seek`, `temperature` and `no_speech_prob` 0."""

    id: int
    seek: int = 0
    start: float
    end: float
    text: str
    tokens: list[int] = Field(default_factory=list)
    temperature: float = 0.0
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float = 0.0


class VerboseText(Wire):
    """`response_format=verbose_json`."""

    task: Literal["transcribe", "translate"]
    language: str
    """The English name, in small letters."""
    duration: float
    text: str
    segments: list[TimedSegment] | None = None
    words: list[TimedWord] | None = None
    usage: DurationUsage


class DiarizedSegment(Wire):
    """A segment of `diarized_json`, and an event of its stream."""

    type: Literal["transcript.text.segment"] = "transcript.text.segment"
    id: str
    start: float
    end: float
    text: str
    speaker: str
    """`A`, `B` and so on, in the order in which they are first heard."""


class DiarizedText(Wire):
    """`response_format=diarized_json`."""

    task: Literal["transcribe"] = "transcribe"
    duration: float
    text: str
    segments: list[DiarizedSegment]
    usage: DurationUsage


class TextDelta(Wire):
    """An event: more text."""

    type: Literal["transcript.text.delta"] = "transcript.text.delta"
    delta: str
    logprobs: list[Logprob] | None = None


class TextDone(Wire):
    """The last event: the whole text."""

    type: Literal["transcript.text.done"] = "transcript.text.done"
    text: str
    logprobs: list[Logprob] | None = None


class SpeakerTurn(Wire):
    speaker: str
    start: float
    end: float


class DiarizationAnswer(Wire):
    """Ours: who speaks when, in seconds."""

    duration: float
    speakers: list[str]
    segments: list[SpeakerTurn]


class Model(Wire):
    id: str
    object: Literal["model"] = "model"
    created: int
    """Unix time at which its weights were put here; 0 where that is not known."""
    owned_by: str = "nemo-server"


class ModelList(Wire):
    object: Literal["list"] = "list"
    data: list[Model]
