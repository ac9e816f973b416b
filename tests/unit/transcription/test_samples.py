"""What is refused as a sample of a voice, and why; by the real networks on real speech and on sounds that are none."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest

from services.transcription.engines.onnx_speakers import OnnxSpeakers
from services.transcription.settings import Settings
from shared.audio.decode import as_float, decode
from tests.conftest import AUDIO, ROOT

RATE_HZ = 16_000
REFERENCE = json.loads((ROOT / "tests" / "fixtures" / "demo" / "reference.json").read_text())


def sound_of(path: Path) -> np.ndarray:
    return as_float(asyncio.run(decode(path.read_bytes())).mono())


@pytest.fixture(scope="module")
def engine(models_dir: Path) -> OnnxSpeakers:
    return OnnxSpeakers(Settings(models_dir=models_dir))


@pytest.fixture(scope="module")
def jfk() -> np.ndarray:
    return sound_of(AUDIO / "jfk.flac")


@pytest.fixture(scope="module")
def readers() -> dict[str, np.ndarray]:
    """Up to 8 s of each reader of the demo."""
    demo, found = sound_of(ROOT / "services" / "cli" / "demo.ogg"), {}
    for said in REFERENCE:
        part = demo[int(said["start_s"] * RATE_HZ) : int(said["end_s"] * RATE_HZ)]
        found[said["speaker"]] = np.concatenate([found.get(said["speaker"], part[:0]), part])[: 8 * RATE_HZ]
    return found


def chords(seconds: float) -> np.ndarray:
    """Arpeggios over held triads with harmonics, a drum on every beat."""
    at = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    roots = np.array([220.0, 174.6, 261.6, 196.0])[(at // 2).astype(int) % 4]
    held = sum(
        np.sin(2 * np.pi * np.cumsum(roots * step) / RATE_HZ) / k for k in (1, 2) for step in (k, 1.26 * k, 1.5 * k)
    )
    notes = np.array([1.0, 1.26, 1.5, 2.0])[(at * 4).astype(int) % 4]
    plucked = np.sin(2 * np.pi * np.cumsum(2 * roots * notes) / RATE_HZ) * np.exp(-6 * ((at * 4) % 1))
    drum = np.random.default_rng(1).normal(size=len(at)) * np.exp(-30 * ((at * 2) % 1))
    return (0.05 * held + 0.1 * plucked + 0.1 * drum).astype(np.float32)


def test_one_speaker_is_a_good_sample(engine: OnnxSpeakers, jfk: np.ndarray) -> None:
    sample = engine.sample(jfk)
    assert sample.problem is None and sample.voice is not None and 0.2 < sample.quality <= 1
    assert 5 < sample.voice.seconds <= 11 and np.linalg.norm(sample.voice.vector) == pytest.approx(1, abs=1e-4)


def test_noise_and_clipping_make_it_a_worse_one(engine: OnnxSpeakers, jfk: np.ndarray) -> None:
    noise = np.random.default_rng(4).normal(0, 0.02, len(jfk)).astype(np.float32)
    clean, noisy = engine.sample(jfk), engine.sample(jfk + noise)
    loud = engine.sample(np.clip(jfk * 12, -1, 1).astype(np.float32))
    assert noisy.quality < clean.quality and loud.quality < clean.quality


@pytest.mark.parametrize("seconds", [1.0, 2.0])
def test_a_second_is_too_short(engine: OnnxSpeakers, jfk: np.ndarray, seconds: float) -> None:
    sample = engine.sample(jfk[: int(seconds * RATE_HZ)])
    assert (sample.problem, sample.voice, sample.quality) == ("too_short", None, 0.0)


@pytest.mark.parametrize("seconds", [0.0, 0.2, 12.0])
def test_silence_is_no_speech(engine: OnnxSpeakers, seconds: float) -> None:
    assert engine.sample(np.zeros(int(seconds * RATE_HZ), dtype=np.float32)).problem == "no_speech"


def test_noise_and_music_are_no_speech(engine: OnnxSpeakers) -> None:
    noise = np.random.default_rng(3).normal(0, 0.1, 10 * RATE_HZ).astype(np.float32)
    assert engine.sample(noise).problem == "no_speech"
    assert engine.sample(chords(12)).problem == "no_speech"


def test_two_people_are_several_voices(engine: OnnxSpeakers, readers: dict[str, np.ndarray]) -> None:
    """One after the other, and both at once."""
    one, other, *_ = readers.values()
    assert engine.sample(np.concatenate([one, other])).problem == "several_voices"
    short = min(len(one), len(other))
    assert engine.sample(one[:short] + other[:short]).problem == "several_voices"


def test_each_reader_alone_is_one_voice(engine: OnnxSpeakers, readers: dict[str, np.ndarray]) -> None:
    samples = [engine.sample(sound) for sound in readers.values()]
    assert [each.problem for each in samples] == [None] * len(samples)
    vectors = np.stack([each.voice.vector for each in samples if each.voice])
    assert (vectors @ vectors.T - np.eye(len(vectors))).max() < engine.thresholds.same
