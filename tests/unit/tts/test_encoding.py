"""Every format decoded back by FFmpeg: length, loudness and pitch are those that went in."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from services.tts.encoding import RATE_HZ, Encoder
from shared.schemas.tts import SpeechFormat
from tests.unit.tts.conftest import decoded, loudness_db

FORMS: tuple[SpeechFormat, ...] = get_args(SpeechFormat)
SOURCE_HZ = 22_050


def tone(seconds: float, hz: float = 440) -> NDArray[np.int16]:
    return (8_000 * np.sin(2 * np.pi * hz * np.arange(int(SOURCE_HZ * seconds)) / SOURCE_HZ)).astype(np.int16)


def encoded(form: SpeechFormat, parts: list[NDArray[np.int16]], speed: float = 1.0) -> list[bytes]:
    encoder = Encoder(form, SOURCE_HZ, speed)
    return [*(encoder.add(part) for part in parts), encoder.end()]


def pitch_hz(sound: NDArray[np.float64], rate_hz: int) -> float:
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    return float(spectrum.argmax() * rate_hz / len(sound))


@pytest.mark.parametrize("form", FORMS)
def test_what_comes_out_is_what_went_in(form: SpeechFormat) -> None:
    sound, rate_hz = decoded(b"".join(encoded(form, [tone(1.0), tone(0.5), tone(0.0)])), form)
    assert rate_hz == (48_000 if form == "opus" else RATE_HZ)  # Opus is decoded at 48 kHz whatever went in
    assert len(sound) / rate_hz == pytest.approx(1.5, abs=0.1)
    assert loudness_db(sound) == pytest.approx(loudness_db(tone(1) / 32768), abs=1.0)
    assert pitch_hz(sound, rate_hz) == pytest.approx(440, abs=5)


@pytest.mark.parametrize("form", FORMS)
def test_most_of_each_part_can_be_sent_at_once(form: SpeechFormat) -> None:
    pieces = encoded(form, [tone(2.0), tone(2.0), tone(2.0)])
    first, _ = decoded(b"".join(pieces[:1]), form)
    assert len(first) / (48_000 if form == "opus" else RATE_HZ) > 1.5
    assert all(pieces)


@pytest.mark.parametrize("speed", [0.25, 0.5, 0.9, 1.5, 2.0, 4.0])
def test_speed_changes_the_length_and_not_the_pitch(speed: float) -> None:
    sound, rate_hz = decoded(b"".join(encoded("pcm", [tone(2.0), tone(1.0)], speed)), "pcm")
    assert len(sound) / rate_hz == pytest.approx(3 / speed, rel=0.05)
    assert pitch_hz(sound, rate_hz) == pytest.approx(440, abs=10)


def test_a_wav_says_that_its_length_is_open() -> None:
    data = b"".join(encoded("wav", [tone(0.5)]))
    assert data[:4] == b"RIFF" and data[4:8] == b"\xff" * 4
    at = data.index(b"data")
    assert data[at + 4 : at + 8] == b"\xff" * 4
