"""Whose voice it is: labels of a recording against the enrolled speakers of one user, open-set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.transcription.engines import Thresholds, Voice

STEEPNESS = 26.5
"""Of the logistic that turns a cosine into a confidence, fitted to LibriSpeech trials. With as many strangers as
enrolled voices its middle was at 0.38; at the threshold of 0.45 it stands for six strangers to each enrolled voice."""


@dataclass(frozen=True)
class Known:
    """An enrolled speaker."""

    speaker_id: str
    vectors: Sequence[NDArray[np.float32]]
    """float32 [dimensions] of length 1, one for each sample, all by the encoder that made the voices."""


@dataclass(frozen=True)
class Match:
    """Who it is, and how sure that is."""

    speaker_id: str
    score: float
    """Cosine."""
    confidence: float
    """0 to 1, 0.5 at the threshold."""


def identify(voices: Mapping[int, Voice], known: Sequence[Known], thresholds: Thresholds) -> dict[int, Match | None]:
    """For every label the enrolled speaker, or None where it is nobody's for sure.

    A voice is recognised when enough of it was heard, its score reaches the threshold, and the next enrolled speaker is
    behind by the margin. One speaker's voice may be split over two labels, so each is judged by itself: both get the
    name when both are clearly above the threshold (by the margin); else only the best one does.
    """
    found = {label: _match(voice, known, thresholds) for label, voice in voices.items()}
    sure = thresholds.same + thresholds.margin
    for speaker_id in {match.speaker_id for match in found.values() if match}:
        labels = sorted((m.score, label) for label, m in found.items() if m and m.speaker_id == speaker_id)
        for score, label in labels[:-1]:
            if score < sure:
                found[label] = None
    return found


def score(voice: Voice, known: Known) -> float:
    """Cosine to the mean of a speaker's samples; -1 where the vectors are not comparable.

    The best sample, and half of each, had the same errors on LibriSpeech; the mean is the one that a bad sample harms
    least.
    """
    vectors = [each for each in known.vectors if each.shape == voice.vector.shape]
    if not vectors:
        return -1.0
    mean = np.mean(vectors, axis=0)
    return float(mean @ voice.vector) / max(float(np.linalg.norm(mean)), 1e-9)


def _match(voice: Voice, known: Sequence[Known], thresholds: Thresholds) -> Match | None:
    if not known or voice.seconds < thresholds.least_s:
        return None
    scores = sorted(((score(voice, each), each.speaker_id) for each in known), reverse=True)
    best, speaker_id = scores[0]
    if best < thresholds.same or (len(scores) > 1 and best - scores[1][0] < thresholds.margin):
        return None
    return Match(speaker_id, round(best, 4), round(confidence(best, thresholds), 3))


def confidence(cosine: float, thresholds: Thresholds) -> float:
    """Logistic of the distance from the threshold (Platt 1999), 0.5 at the threshold itself."""
    return float(1 / (1 + np.exp(-STEEPNESS * (cosine - thresholds.same))))
