"""Whose voice it is: open-set, on vectors whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from services.transcription.engines import Thresholds, Voice
from services.transcription.identification import Known, confidence, identify, score

THRESHOLDS = Thresholds(same=0.5, margin=0.1, least_s=1.5)


def at(degrees: float) -> np.ndarray:
    radians = np.deg2rad(degrees)
    return np.array([np.cos(radians), np.sin(radians), 0], dtype=np.float32)


def voice(degrees: float, seconds: float = 10.0) -> Voice:
    return Voice(at(degrees), seconds)


ANN, BEN = Known("ann", [at(0), at(10)]), Known("ben", [at(90)])


def test_the_nearest_speaker_above_the_threshold() -> None:
    found = identify({0: voice(5), 1: voice(88)}, [ANN, BEN], THRESHOLDS)
    assert {label: match and match.speaker_id for label, match in found.items()} == {0: "ann", 1: "ben"}
    assert all(match and 0.5 <= match.confidence <= 1 for match in found.values())


def test_a_stranger_stays_unknown() -> None:
    assert identify({0: voice(200)}, [ANN, BEN], THRESHOLDS) == {0: None}
    assert identify({0: voice(5)}, [], THRESHOLDS) == {0: None}


def test_between_two_speakers_it_is_nobody() -> None:
    assert identify({0: voice(49)}, [ANN, BEN], THRESHOLDS) == {0: None}


def test_too_little_speech_is_nobody() -> None:
    assert identify({0: voice(5, seconds=1.4)}, [ANN, BEN], THRESHOLDS) == {0: None}


def test_one_speaker_gets_two_labels_only_when_both_are_clear() -> None:
    both = identify({0: voice(3), 1: voice(8)}, [ANN], THRESHOLDS)
    assert both[0] and both[1] and both[0].speaker_id == both[1].speaker_id == "ann"
    best = identify({0: voice(3), 1: voice(61)}, [ANN], THRESHOLDS)
    assert best[0] and best[1] is None


def test_more_samples_help_and_foreign_vectors_do_no_harm() -> None:
    assert score(voice(30), Known("ann", [at(0), at(30)])) > score(voice(30), Known("ann", [at(0)]))
    other = np.ones(256, dtype=np.float32) / 16
    assert score(voice(0), Known("ann", [other, at(0)])) == pytest.approx(1)
    assert score(voice(0), Known("ann", [other])) == -1


def test_confidence_rises_with_the_cosine() -> None:
    values = [confidence(each, THRESHOLDS) for each in (0.0, 0.4, 0.5, 0.6, 1.0)]
    assert values == sorted(values) and values[2] == 0.5 and values[0] >= 0 and values[-1] <= 1
