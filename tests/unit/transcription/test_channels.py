"""When two channels are copies, and when each is a voice."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from services.transcription.channels import split
from shared.audio.decode import RATE_HZ


def two(level: float, seconds: float) -> NDArray[np.int16]:
    """Two voices as noise of this RMS."""
    noise = np.random.default_rng(7).normal(0, level, (2, int(RATE_HZ * seconds)))
    return noise.astype(np.int16)


@pytest.mark.parametrize(("level", "seconds"), [(45, 3), (20, 3), (3_000, 0.4), (20, 0.1), (3_000, 3)])
def test_no_channel_is_lost_that_is_asked_for(level: float, seconds: float) -> None:
    sound = two(level, seconds)
    signals, notices = split(sound, "separate")
    assert len(signals) == 2 and all((a == b).all() for a, b in zip(signals, sound, strict=True))
    assert "dual_mono_detected" not in {each.code for each in notices}


@pytest.mark.parametrize(("level", "seconds"), [(20, 3), (3_000, 0.4), (3_000, 3)])
def test_the_same_sound_twice_is_one(level: float, seconds: float) -> None:
    one = two(level, seconds)[0]
    signals, notices = split(np.stack((one, one)), "separate")
    assert len(signals) == 1 and (signals[0] == one).all()
    assert {each.code for each in notices} == {"dual_mono_detected"}


def test_a_copy_of_another_gain_or_polarity_is_one() -> None:
    one = two(3_000, 3)[0]
    assert len(split(np.stack((one, (one * -0.5).astype(np.int16))), "separate")[0]) == 1
