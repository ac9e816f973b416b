"""Words and voice together: how excited a segment sounds beside its speaker's others, and what that makes of its label.

A voice tells how aroused somebody is far better than which emotion it is (Juslin & Laukka 2003), and only beside that
same voice at other moments. So the voice never names an emotion here: it shifts weight among those that the words name.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from services.emotion.engines import distribution
from shared.schemas.emotion import EmotionScore, Label
from shared.schemas.transcription import SpanEmotion, SpanMetrics

Numbers = NDArray[np.float64]

EXPECTED_AROUSAL: dict[Label, float] = {
    "anger": 0.80,
    "disgust": 0.68,
    "fear": 0.80,
    "joy": 0.74,
    "neutral": 0.50,
    "sadness": 0.37,
    "surprise": 0.84,
}
"""0 calm, 0.5 as always, 1 excited: the mean arousal ratings of Russell & Mehrabian (1977, J. Research in Personality
11, 273-294), on their scale of -1 to 1: anger 0.59, disgust 0.35, fear 0.60, joy 0.48, sadness -0.27, surprise 0.67.
The order is that of the circumplex (Russell 1980), and of the voice in Scherer (2003) and Juslin & Laukka (2003)."""

TOLERANCE = 0.25
"""Standard deviation of a voice's arousal around what is expected. Chosen: no labelled speech was at hand to fit it."""
VOICE_WEIGHT = 0.3
"""Exponent of the voice beside the words: at most 2.8 times more for one label than for another. Chosen likewise."""
LEAST_SEGMENTS = 8
"""Of one speaker, below which nobody knows what is usual for that voice."""
LEAST_CUES = 2
"""Of the four below, without which a segment has no arousal."""

# Louder, higher, livelier and faster is more aroused (Scherer 2003, table 1; Juslin & Laukka 2003, table 7). Equal
# weights: fitted ones are rarely better where data are few (Dawes 1979). What is usual for a voice varies at least so
# much, else a monotonous reader's smallest step would be an outburst: decibels, semitones, octaves of spread, of rate.
SPREAD_AT_LEAST = np.array([2.0, 1.0, 0.3, 0.2])
MAD_TO_STD = 1.4826
MOST_SPREADS = 3.0
MOST_ALONE = 256
"""Segments up to which each is compared with the others without itself."""

SPOKEN = 0.6
"""Trust in an emotion read from spoken words beside written ones: a model trained like ours was right in 0.41 of
television dialogue, in 0.70 of written comments (`models/emotion/card.md`). Neutral, most of speech, keeps all."""
ENOUGH_WORDS = 3
"""Fewer say little; a speech engine mishears them most."""


def emotions_of(
    scores: Sequence[list[EmotionScore]],
    texts: Sequence[str],
    speakers: Sequence[str],
    metrics: Sequence[SpanMetrics | None],
) -> list[tuple[list[EmotionScore], SpanEmotion]]:
    """Per segment all seven scores and the strongest of them; all arguments are as long as the recording has segments.

    Where the voice says nothing, the scores are those of the words, unchanged.
    """
    aroused = arousal(speakers, metrics)
    return [_emotion(*each) for each in zip(scores, texts, metrics, aroused, strict=True)]


def arousal(speakers: Sequence[str], metrics: Sequence[SpanMetrics | None]) -> list[float | None]:
    """0 calm, 0.5 usual, 1 excited, beside the same speaker's other segments; None where too little is known."""
    cues = np.array([_cues(each) for each in metrics]).reshape(-1, len(SPREAD_AT_LEAST))
    usable = np.isfinite(cues).sum(axis=1) >= LEAST_CUES
    found: list[float | None] = [None] * len(metrics)
    places: defaultdict[str, list[int]] = defaultdict(list)
    for at in np.flatnonzero(usable).tolist():
        places[speakers[at]].append(at)
    for mine in places.values():
        if len(mine) >= LEAST_SEGMENTS:
            for at, value in zip(mine, _beside_the_others(cues[mine]), strict=True):
                found[at] = round(float(value), 3)
    return found


def _cues(metrics: SpanMetrics | None) -> list[float]:
    """Loudness, pitch, liveliness, rate on scales on which people hear differences as equal; nan where unknown."""
    if metrics is None:
        return [np.nan] * len(SPREAD_AT_LEAST)
    pitch, spread, rate = metrics.pitch_mean_hz, metrics.pitch_std_hz, metrics.speaking_rate_wpm
    return [
        metrics.rms_db,
        12 * np.log2(pitch) if pitch and pitch > 0 else np.nan,
        np.log2(0.02 + spread / pitch) if pitch and pitch > 0 and spread is not None and spread >= 0 else np.nan,
        np.log2(rate) if rate and rate > 0 else np.nan,
    ]


def _beside_the_others(cues: Numbers) -> Numbers:
    """[segments, cues] to [segments] in 0 to 1: the mean robust z-score (median and MAD), through a logistic curve."""
    enough = np.isfinite(cues).sum(axis=0) >= LEAST_SEGMENTS
    cues, least = cues[:, enough], SPREAD_AT_LEAST[enough]
    others = _others(cues)
    centre = np.nanmedian(others, axis=1)
    spread = np.maximum(MAD_TO_STD * np.nanmedian(np.abs(others - centre[:, None]), axis=1), least)
    known = np.isfinite(cues)
    z = np.where(known, np.clip((cues - centre) / spread, -MOST_SPREADS, MOST_SPREADS), 0.0)
    mean = z.sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    level: Numbers = 1 / (1 + np.exp(-mean))
    return level


def _others(cues: Numbers) -> Numbers:
    """[segments, segments - 1, cues]; of many [1, segments, cues], since one among them moves no median."""
    if len(cues) > MOST_ALONE:
        return cues[None]
    return np.stack([np.delete(cues, at, axis=0) for at in range(len(cues))])


def _emotion(
    scores: list[EmotionScore], text: str, metrics: SpanMetrics | None, aroused: float | None
) -> tuple[list[EmotionScore], SpanEmotion]:
    fused = scores if aroused is None else _reweighted(scores, aroused)
    top = fused[0]
    agreement = None if aroused is None else round(fit(scores[0].label, aroused), 3)
    emotion = SpanEmotion(
        label=top.label,
        score=top.score,
        confidence=_confidence(top, text, None if aroused is None else fit(top.label, aroused)),
        agreement=agreement,
        metrics=None if metrics is None else metrics.model_copy(update={"arousal": aroused}),
    )
    return fused, emotion


def fit(label: Label, aroused: float) -> float:
    """1 where the voice is as aroused as the label leads to expect, falling as a Gaussian."""
    return float(np.exp(-(((aroused - EXPECTED_AROUSAL[label]) / TOLERANCE) ** 2) / 2))


def _reweighted(scores: list[EmotionScore], aroused: float) -> list[EmotionScore]:
    """Bayes' rule with the voice's likelihood to the power of its weight."""
    labels = [each.label for each in scores]
    return distribution(labels, [each.score * fit(each.label, aroused) ** VOICE_WEIGHT for each in scores])


def _confidence(top: EmotionScore, text: str, fits: float | None) -> float:
    """The score, calibrated on written comments; less of it for speech, for few words, for another tone of voice."""
    trust = top.score * (1.0 if top.label == "neutral" else SPOKEN) * min(1.0, len(text.split()) / ENOUGH_WORDS)
    return round(trust if fits is None else trust * (1 + fits) / 2, 3)
