"""Pitch, loudness, pauses and rate of sounds whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from services.emotion.prosody import measure, pitch_of
from tests.unit.emotion.conftest import silence, tone


@pytest.mark.parametrize("hz", [70, 100, 123, 200, 220, 300, 390])
def test_the_pitch_of_a_voice(hz: int) -> None:
    found = measure(tone(hz, 2), 0)
    assert found.pitch_mean_hz == pytest.approx(hz, rel=0.005)
    assert found.pitch_std_hz == pytest.approx(0, abs=0.5)


def test_a_voice_whose_lowest_harmonic_is_missing() -> None:
    """As on the telephone: the ear, and the autocorrelation, hear 120 Hz in 240 + 360 + 480."""
    time_s = np.arange(32_000) / 16_000
    sound = sum(0.1 * np.sin(2 * np.pi * 120 * k * time_s) for k in (2, 3, 4))
    assert measure(np.asarray(sound, dtype=np.float32), 0).pitch_mean_hz == pytest.approx(120, rel=0.01)


def test_a_glide_is_followed() -> None:
    time_s = np.arange(48_000) / 16_000
    phase = 2 * np.pi * np.cumsum(100 + 50 * time_s) / 16_000
    sound = sum(0.1 * np.sin(k * phase) / k for k in range(1, 6))
    melody = pitch_of(np.asarray(sound, dtype=np.float32))
    assert melody[0] == pytest.approx(101, abs=4)
    assert melody[-1] == pytest.approx(249, abs=6)
    assert (np.diff(melody) > -2).all()


def test_noise_has_no_pitch() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 48_000).astype(np.float32)
    assert measure(noise, 0).pitch_mean_hz is None


def test_a_voice_in_noise_keeps_its_pitch() -> None:
    noise = np.random.default_rng(1).normal(0, 0.02, 32_000).astype(np.float32)
    assert measure(tone(150, 2) + noise, 0).pitch_mean_hz == pytest.approx(150, abs=3)


@pytest.mark.parametrize("amplitude", [1.0, 0.1, 0.001])
def test_loudness_is_relative_to_full_scale(amplitude: float) -> None:
    time_s = np.arange(16_000) / 16_000
    sine = (amplitude * np.sin(2 * np.pi * 100 * time_s)).astype(np.float32)
    assert measure(sine, 0).rms_db == pytest.approx(20 * np.log10(amplitude / np.sqrt(2)), abs=0.05)


def test_pauses_and_rate_of_speech() -> None:
    found = measure(np.concatenate([tone(150, 2), silence(1), tone(150, 2), silence(1)]), 8)
    assert found.duration_s == 6
    assert found.pause_ratio == pytest.approx(1 / 3, abs=0.02)
    assert found.speaking_rate_wpm == pytest.approx(120, rel=0.03)


@pytest.mark.parametrize("samples", [0, 1, 100, 1023, 16_000])
def test_silence_of_any_length(samples: int) -> None:
    found = measure(np.zeros(samples, dtype=np.float32), 0)
    assert (found.rms_db, found.pause_ratio, found.pitch_mean_hz, found.speaking_rate_wpm) == (-120, 1, None, None)


def test_a_sound_too_short_to_have_a_rate() -> None:
    assert measure(tone(150, 0.3), 3).speaking_rate_wpm is None


def test_ten_minutes_take_seconds() -> None:
    assert measure(np.tile(tone(150, 60), 10), 0).pitch_mean_hz == pytest.approx(150, rel=0.01)
