"""Emotion of text and voice."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, TypeAdapter, model_validator

from shared.schemas.transcription import SpanEmotion, SpanMetrics
from shared.schemas.wire import Request, Wire

Label = Literal["anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise"]
LABELS: tuple[Label, ...] = ("anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise")

Text = Annotated[str, StringConstraints(min_length=1, max_length=20_000)]


class EmotionScore(Wire):
    """One label and how much of the whole it takes."""

    label: Label
    score: float = Field(ge=0, le=1)
    """The seven scores of one text sum to 1."""


class AudioMetrics(Wire):
    """How a voice sounded, measured on the samples."""

    duration_s: float
    rms_db: float
    """Root mean square, decibels relative to full scale; -120 for digital silence."""
    pitch_mean_hz: float | None
    """None where no voiced frame was found."""
    pitch_std_hz: float | None
    speaking_rate_wpm: float | None
    """Words per minute of speech; None without words."""
    pause_ratio: float
    """Share of the time without speech, 0 to 1."""


class SegmentEmotion(Wire):
    """What one stretch of speech said and how it sounded."""

    start_s: float
    end_s: float
    text: str
    emotions: list[EmotionScore]
    """Of words and voice together; of the words alone where `agreement` is None."""
    confidence: float | None = None
    """As in SpanEmotion: below 0.5 say "unsure"."""
    agreement: float | None = None
    metrics: SpanMetrics | None = None


class AnalyzeText(Request):
    text: Text


class EmotionAnalysis(Wire):
    """All seven labels, highest first."""

    emotions: list[EmotionScore]
    text: str
    audio_metrics: AudioMetrics | None = None
    segments: list[SegmentEmotion] = Field(default_factory=list)


class AnalyzeBatch(Request):
    texts: Annotated[list[Text], Field(min_length=1, max_length=256)]


class EmotionBatch(Wire):
    """One analysis per text, in the order sent."""

    results: list[EmotionAnalysis]
    model: str


MOST_SPANS = 2_000
MOST_PCM_S = 300.0
"""Longest sound of one call of `/emotion/measure`, in seconds."""
MOST_SPANS_S = 4 * MOST_PCM_S
"""All its spans together; those of several speakers may overlap."""
MOST_SEGMENTS = 10_000
MOST_SPEECH_CHARS = 2_000_000


class MeasureSpan(Request):
    """A stretch of sound to be measured; what lies behind the end of the sound is left out."""

    start_s: float = Field(ge=0)
    end_s: float = Field(ge=0)
    words: int = Field(default=0, ge=0, le=100_000)
    """How many were said in it; 0 where nobody knows."""

    @model_validator(mode="after")
    def _forward(self) -> MeasureSpan:
        if self.end_s < self.start_s:
            raise ValueError("end_s is before start_s")
        return self


MEASURE_SPANS: TypeAdapter[list[MeasureSpan]] = TypeAdapter(
    Annotated[list[MeasureSpan], Field(min_length=1, max_length=MOST_SPANS)]
)
"""The form field `spans` of `/emotion/measure`; the other field is the file `pcm`: s16le, mono, 16 kHz."""


class SpansMeasured(Wire):
    """One measurement per span, in the order sent; `arousal` is None until all of a recording is compared."""

    metrics: list[SpanMetrics]


class SpokenSegment(Request):
    """One segment of a recording: its words, whose they are, and how they sounded where that was measured."""

    text: Annotated[str, StringConstraints(max_length=20_000)]
    speaker: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    metrics: SpanMetrics | None = None


class AnalyzeSpeech(Request):
    """All segments of one recording, so that each can be compared with the others of its speaker."""

    segments: Annotated[list[SpokenSegment], Field(min_length=1, max_length=MOST_SEGMENTS)]

    @model_validator(mode="after")
    def _bounded(self) -> AnalyzeSpeech:
        if sum(len(each.text) for each in self.segments) > MOST_SPEECH_CHARS:
            raise ValueError(f"the texts have more than {MOST_SPEECH_CHARS} characters together")
        return self


class SpeechEmotion(Wire):
    """One emotion per segment, in the order sent."""

    emotions: list[SpanEmotion]
    model: str
