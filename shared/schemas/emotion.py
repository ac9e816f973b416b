"""Emotion of text and voice."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

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
    """What one stretch of speech sounded like."""

    start_s: float
    end_s: float
    text: str
    emotions: list[EmotionScore]


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
