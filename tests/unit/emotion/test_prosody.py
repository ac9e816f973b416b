"""Pitch, loudness, pauses and rate of sounds whose truth is known."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
import pytest

from services.emotion.fusion import arousal
from services.emotion.prosody import Sound, measure, measure_spans, pitch_of
from shared.audio.decode import as_float, decode
from shared.schemas.emotion import MeasureSpan
from shared.schemas.transcription import SpanMetrics
from tests.conftest import AUDIO
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


def as_samples(sound: Sound) -> np.ndarray:
    return np.clip(sound * 32768, -32768, 32767).astype(np.int16)


def spans(*edges: tuple[float, float]) -> list[MeasureSpan]:
    return [MeasureSpan(start_s=start, end_s=end, words=3) for start, end in edges]


def test_a_span_is_measured_as_if_it_were_alone() -> None:
    loud, quiet = tone(220, 1, level=0.3), tone(110, 1, level=0.003)
    together = as_samples(np.concatenate([loud, quiet]))
    first, second = measure_spans(together, spans((0, 1), (1, 2)))
    assert first.pitch_mean_hz == pytest.approx(220, rel=0.01)
    assert second.pitch_mean_hz == pytest.approx(110, rel=0.02)
    assert first.rms_db - second.rms_db == pytest.approx(40, abs=0.5)
    assert second == measure_spans(as_samples(quiet), spans((0, 1)))[0]


@pytest.mark.parametrize("edges", [(0.0, 0.0), (0.5, 0.5), (0.99, 1.0), (0.0, 0.1), (1.0, 2.0), (7.0, 1e300), (0.9, 5)])
def test_spans_that_hold_little_or_nothing(edges: tuple[float, float]) -> None:
    (found,) = measure_spans(as_samples(tone(150, 1)), spans(edges))
    assert found.speaking_rate_wpm is None
    assert found.rms_db >= -120
    assert found.arousal is None


def test_a_tenth_of_a_second_has_a_pitch() -> None:
    assert measure_spans(as_samples(tone(150, 1)), spans((0.4, 0.5)))[0].pitch_mean_hz == pytest.approx(150, rel=0.02)


def test_a_constant_voltage_is_neither_loud_nor_voiced() -> None:
    found = measure(np.full(16_000, 0.5, dtype=np.float32), 0)
    assert (found.rms_db, found.pitch_mean_hz, found.pause_ratio) == (-120, None, 1)
    offset = measure(tone(150, 1) * 0.1 + np.float32(0.4), 0)
    assert offset.rms_db == pytest.approx(measure(tone(150, 1) * 0.1, 0).rms_db, abs=0.1)


@pytest.fixture(scope="module")
def kennedy() -> Sound:
    """Eleven seconds of one real voice."""
    return as_float(asyncio.run(decode((AUDIO / "jfk.flac").read_bytes())).mono())


def test_a_clipped_voice_keeps_its_pitch(kennedy: Sound) -> None:
    clean, clipped = measure(kennedy, 0), measure(np.clip(kennedy * 8, -1, 1), 0)
    assert clipped.pitch_mean_hz == pytest.approx(clean.pitch_mean_hz, rel=0.05)
    assert clipped.rms_db > clean.rms_db


def test_a_telephone_band_keeps_the_pitch(kennedy: Sound) -> None:
    spectrum = np.fft.rfft(kennedy)
    hz = np.fft.rfftfreq(len(kennedy), 1 / 16_000)
    spectrum[(hz < 300) | (hz > 3400)] = 0
    narrow = np.fft.irfft(spectrum, len(kennedy)).astype(np.float32)
    assert measure(narrow, 0).pitch_mean_hz == pytest.approx(measure(kennedy, 0).pitch_mean_hz, rel=0.1)


def test_measuring_is_repeatable(kennedy: Sound) -> None:
    edges = spans(*((at / 2, at / 2 + 1.5) for at in range(20)))
    assert measure_spans(as_samples(kennedy), edges) == measure_spans(as_samples(kennedy), edges)


def sped_up(sound: Sound, factor: float) -> Sound:
    """Faster and higher, as of a tape."""
    places = np.arange(0, len(sound) - 1, factor)
    return np.interp(places, np.arange(len(sound)), sound).astype(np.float32)


@pytest.mark.parametrize(
    ("excite", "dip"),
    [
        (lambda sound, step: np.clip(sound * 10 ** (2.5 * step / 20), -1, 1), 0.0),
        (lambda sound, step: sped_up(sound, 1 + 0.08 * step), 0.1),
    ],
    ids=["louder", "higher and faster"],
)
def test_real_speech_made_more_excited_is_found_so(
    kennedy: Sound, excite: Callable[[Sound, int], Sound], dip: float
) -> None:
    """A frame at the edge of a voiced stretch may be voiced at one speed and not at the next: hence the dip."""

    def of(sound: Sound) -> SpanMetrics:
        return measure_spans(as_samples(sound), [MeasureSpan(start_s=0, end_s=10, words=3)])[0]

    parts = [kennedy[at * 16_000 : (at + 1) * 16_000] * 0.25 for at in range(11)]
    usual = [of(each) for each in parts]
    assert None not in arousal(["A"] * 11, usual)
    curves = []
    for at in (0, 3, 6, 9):
        changes = [[*usual[:at], of(excite(parts[at], step)), *usual[at + 1 :]] for step in range(5)]
        curves.append([arousal(["A"] * 11, each)[at] for each in changes])
    assert np.diff(np.array(curves, dtype=float), axis=1).min() >= -dip
    first, *_, last = np.mean(np.array(curves, dtype=float), axis=0)
    assert last > first + 0.01
