"""Nothing is invented where nobody speaks, and quiet speech is not taken for silence. With the real weights."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from services.transcription.engines.faster_whisper import FasterWhisper
from services.transcription.settings import Settings
from shared.audio.decode import as_float, decode
from tests.conftest import AUDIO

SECONDS = 20


@pytest.fixture(scope="module")
def engine() -> FasterWhisper:
    settings = Settings(threads=1)
    if not (settings.models_dir / settings.transcription_model / "model.bin").is_file():
        pytest.skip("the speech weights are absent; `nemo models pull` brings them")
    return FasterWhisper(settings)


def lead(seed: int) -> np.ndarray:
    """A voice-like melody with vibrato: bare Whisper hears "Thank you." in it, also behind its own detector."""
    rng, notes = np.random.default_rng(seed), []
    for _ in range(SECONDS * 2):
        time_s = np.arange(8_000) / 16_000
        hz = 440 * 2 ** ((rng.choice((57, 60, 62, 64, 67, 69, 72)) - 69) / 12)
        phase = 2 * np.pi * hz * time_s + 0.6 * np.sin(2 * np.pi * 5.5 * time_s)
        tone = sum(np.sin(k * phase) * 0.75**k for k in range(1, 9))
        notes.append(tone * np.minimum(time_s / 0.01, 1) * np.exp(-time_s / 0.3))
    sound = np.concatenate(notes)
    return (sound / np.sqrt((sound**2).mean()) * 0.1).astype(np.float32)


def noise(level: float) -> np.ndarray:
    return np.random.default_rng(1).normal(0, level, SECONDS * 16_000).astype(np.float32)


def hum() -> np.ndarray:
    time_s = np.arange(SECONDS * 16_000) / 16_000
    return sum(0.02 * np.sin(2 * np.pi * 50 * k * time_s) / k for k in range(1, 12)).astype(np.float32)


@pytest.mark.parametrize(
    "sound",
    [np.zeros(SECONDS * 16_000, dtype=np.float32), noise(0.001), noise(0.1), hum(), lead(5), lead(6), lead(7)],
    ids=["silence", "faint noise", "loud noise", "hum", "lead 5", "lead 6", "lead 7"],
)
@pytest.mark.parametrize("piece_s", [SECONDS, 4])
def test_no_word_where_nobody_speaks(engine: FasterWhisper, sound: np.ndarray, piece_s: int) -> None:
    for at in range(0, len(sound), piece_s * 16_000):
        assert engine.transcribe(sound[at : at + piece_s * 16_000]).segments == []


@pytest.mark.parametrize("gain", [1.0, 0.1, 0.01])
def test_quiet_speech_is_heard(engine: FasterWhisper, gain: float) -> None:
    kennedy = as_float(asyncio.run(decode((AUDIO / "jfk.flac").read_bytes())).mono())
    text = " ".join(each.text for each in engine.transcribe(kennedy * np.float32(gain)).segments).lower()
    assert "ask not what your country can do for you" in text


class Said:
    """A segment as faster-whisper answers it, with what it thinks of it itself."""

    def __init__(self, no_speech_prob: float) -> None:
        self.no_speech_prob, self.start, self.end = no_speech_prob, 1.0, 2.0


@pytest.mark.parametrize(
    ("no_speech_prob", "probability", "kept"),
    [(0.6, 0.95, True), (0.6, 0.85, False), (0.8, 0.95, False), (0.5, 0.0, False)],
)
def test_who_vouches_for_a_doubtful_segment(no_speech_prob: float, probability: float, kept: bool) -> None:
    from services.transcription.engines.faster_whisper import _vouched

    speech = np.zeros(100, dtype=np.float32)
    speech[40] = probability
    assert _vouched(Said(no_speech_prob), speech) is kept
    assert _vouched(Said(no_speech_prob), np.zeros(0, dtype=np.float32)) is False
