"""Stereo calls built of two real voices, with and without the one in the other's channel, heard by the real model."""

from __future__ import annotations

import re
import wave
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from services.transcription import channels
from services.transcription.crosstalk import coherence, without_crosstalk
from services.transcription.engines.faster_whisper import FasterWhisper
from services.transcription.pipeline import moved
from services.transcription.settings import Settings
from shared.audio.decode import RATE_HZ, Samples, as_float
from shared.schemas.transcription import Segment, Word
from tests.conftest import AUDIO

Sound = NDArray[np.float32]
GAP = RATE_HZ // 2


@pytest.fixture(scope="module")
def engine(models_dir: Path) -> FasterWhisper:
    return FasterWhisper(Settings(models_dir=models_dir, threads=1, beam_size=1))


def level(sound: Sound) -> Sound:
    return sound * (0.1 / np.sqrt(np.square(sound).mean()))


@pytest.fixture(scope="module")
def kennedy() -> Sound:
    with av.open(str(AUDIO / "jfk.flac")) as file:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE_HZ)
        pieces = [each.to_ndarray()[0] for frame in file.decode(audio=0) for each in resampler.resample(frame)]
    return level(np.concatenate(pieces).astype(np.float32) / 32768)


@pytest.fixture(scope="module")
def austen() -> Sound:
    with wave.open(str(AUDIO / "librivox-sas-0870.wav")) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
    return level(samples.astype(np.float32) / 32768)


def call(left: Sound, right: Sound, *, bleed_db: float | None = None, at: int | None = None, delay: int = 0) -> Samples:
    """Left speaks, then right (or from sample `at`), each also in the other's channel by so many dB less."""
    at = len(left) + GAP if at is None else at
    sound = np.zeros((2, max(len(left), at + len(right)) + GAP), dtype=np.float32)
    sound[0, : len(left)] += left
    sound[1, at : at + len(right)] += right
    gain = 0.0 if bleed_db is None else 10 ** (bleed_db / 20)
    mixed = sound + gain * np.roll(sound[::-1], delay, axis=1)
    return (np.clip(mixed, -1, 1) * 32767).astype(np.int16)


def heard(engine: FasterWhisper, signals: list[Samples]) -> list[Segment]:
    return [
        moved(each, 0, channel)
        for channel, signal in enumerate(signals)
        for each in engine.transcribe(as_float(signal)).segments
    ]


def words(segments: list[Segment], channel: int) -> list[str]:
    text = " ".join(each.text for each in segments if each.channel == channel)
    return re.sub(r"[^a-z ]", "", text.lower()).split()


@pytest.mark.parametrize(("bleed_db", "delay"), [(-6, 0), (-12, 0), (-12, 80), (-20, 0)])
def test_bleed_is_left_out(engine: FasterWhisper, kennedy: Sound, austen: Sound, bleed_db: float, delay: int) -> None:
    samples = call(kennedy, austen, bleed_db=bleed_db, delay=delay)
    signals, notices = channels.split(samples, "separate")
    assert len(signals) == 2 and notices == []
    before = heard(engine, signals)
    after, found = without_crosstalk(before, signals)
    assert "country" in words(before, 1), "the bleed was never audible, so this shows nothing"
    assert [each.code for each in found] == ["crosstalk_detected"]
    assert words(after, 0).count("country") == 2 and "country" not in words(after, 1)
    assert "leisure" in words(after, 1) and "leisure" not in words(after, 0)
    for channel, clean in ((0, 22), (1, 22)):
        assert abs(len(words(after, channel)) - clean) <= 2, words(after, channel)


def test_without_bleed_nothing_is_lost(engine: FasterWhisper, kennedy: Sound, austen: Sound) -> None:
    signals, _ = channels.split(call(kennedy, austen), "separate")
    segments = heard(engine, signals)
    assert without_crosstalk(segments, signals) == (segments, [])


@pytest.mark.parametrize("louder_db", [-10, 0, 10])
def test_who_talk_at_once_both_keep_their_words(
    engine: FasterWhisper, kennedy: Sound, austen: Sound, louder_db: float
) -> None:
    signals, _ = channels.split(call(kennedy * 10 ** (louder_db / 20), austen, at=RATE_HZ), "separate")
    segments = heard(engine, signals)
    assert without_crosstalk(segments, signals) == (segments, [])


def test_talk_at_once_over_bleed_keeps_both(engine: FasterWhisper, kennedy: Sound, austen: Sound) -> None:
    overlap = len(kennedy) - 2 * RATE_HZ
    signals, _ = channels.split(call(kennedy, austen, bleed_db=-15, at=overlap), "separate")
    before = heard(engine, signals)
    after, _ = without_crosstalk(before, signals)
    assert "country" in words(after, 0) and "leisure" in words(after, 1)
    assert "leisure" not in words(after, 0) and "americans" not in words(after, 1)
    # What the smallest model hears where both talk is anybody's; what the first said alone stays to the word.
    alone_s = overlap / RATE_HZ - 0.3
    said = [[word for each in found if each.channel == 0 for word in each.words if word.end_s < alone_s]
            for found in (before, after)]  # fmt: skip
    assert said[0] == said[1] and len(said[0]) > 10


def test_a_started_engine_hears_the_same_alike(models_dir: Path, kennedy: Sound, austen: Sound) -> None:
    """Two who talk at once: what Whisper doubts and draws again."""
    (signal, _), _ = channels.split(call(kennedy, austen, bleed_db=-15, at=len(kennedy) - 2 * RATE_HZ), "separate")
    found = []
    for _ in range(2):
        started = FasterWhisper(Settings(models_dir=models_dir, threads=1, beam_size=1))
        found.append([words(heard(started, [signal]), 0) for _ in range(2)])
    assert found[0] == found[1]


@pytest.mark.parametrize("gain", [1.0, -1.0, 0.3, -0.3])
def test_a_copy_is_dual_mono_whatever_its_polarity(austen: Sound, gain: float) -> None:
    samples = (np.stack([austen, gain * austen]) * 32767).astype(np.int16)
    for wanted, codes in (("auto", ["dual_mono_detected"]), ("separate", ["dual_mono_detected"]), ("mono", [])):
        (signal,), notices = channels.split(samples, wanted)
        assert [each.code for each in notices] == codes
        assert np.abs(signal).max() >= np.abs(samples).max() - 1, "an inverted copy must not cancel the voice"


def test_voices_that_bleed_are_no_copies(kennedy: Sound, austen: Sound) -> None:
    samples = call(kennedy, austen, bleed_db=-6)
    assert channels.correlation(samples[0], samples[1]) > channels.DUAL_MONO
    assert not channels.copies(samples[0], samples[1])


def test_a_silent_channel_has_no_words_and_is_named(engine: FasterWhisper, austen: Sound) -> None:
    hiss = np.random.default_rng(1).normal(0, 5, len(austen)).astype(np.int16)
    for other in (np.zeros(len(austen), dtype=np.int16), hiss):
        signals, notices = channels.split(np.stack([(austen * 32767).astype(np.int16), other]), "separate")
        assert [each.code for each in notices] == ["silent_channel"] and "channel 2" in notices[0].detail
        segments, _ = without_crosstalk(heard(engine, signals), signals)
        assert words(segments, 0) and not words(segments, 1)


def test_more_than_two_channels(kennedy: Sound, austen: Sound) -> None:
    two = call(kennedy, austen)
    samples = np.stack([two[0], two[1], (two[0] * 0.2).astype(np.int16)])
    signals, _ = channels.split(samples, "separate")
    word = Word(word="country", start_s=4.0, end_s=5.0, confidence=0.9)
    segments = [
        Segment(segment_id=f"seg_{at}", start_s=4, end_s=5, speaker="", channel=at, text="country", confidence=1,
                words=[word])
        for at in (0, 2)
    ]  # fmt: skip
    after, notices = without_crosstalk(segments, signals)
    assert [each.channel for each in after] == [0] and len(notices) == 1


def test_coherence_of_a_copy_and_of_strangers(kennedy: Sound, austen: Sound) -> None:
    a, b = ((each[RATE_HZ : RATE_HZ + 8000] * 32767).astype(np.int16) for each in (kennedy, austen))
    assert coherence(a, np.roll(a, 100) // 8) > 0.9 and coherence(a, -a) > 0.99
    assert coherence(a, b) < 0.4 and coherence(a, np.zeros_like(a)) == 0.0
