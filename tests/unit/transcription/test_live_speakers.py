"""Speakers of a live stream: on vectors whose answer is known, and on the readers of the demo."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import numpy as np

from services.transcription.engines import Voice
from services.transcription.engines.live_speakers import LiveSpeakers
from services.transcription.engines.onnx_speakers import OnnxSpeakers
from services.transcription.settings import Settings
from shared.audio.decode import as_float, decode
from tests.conftest import ROOT

PEOPLE = np.linalg.qr(np.random.default_rng(7).normal(size=(64, 64)))[0][:5].astype(np.float32)


def voice(who: int, seconds: float = 4.0, noise: float = 0.05, seed: int = 0) -> Voice:
    vector = PEOPLE[who] + noise * np.random.default_rng(seed).normal(size=64).astype(np.float32)
    return Voice((vector / np.linalg.norm(vector)).astype(np.float32), seconds)


def test_people_are_numbered_as_they_come() -> None:
    live = LiveSpeakers()
    assert [live.add(voice(who, seed=n)) for n, who in enumerate([3, 1, 3, 0, 1])] == [0, 1, 0, 2, 1]


def test_a_brief_word_is_the_last_speakers_unless_clearly_anothers() -> None:
    live = LiveSpeakers()
    live.add(voice(0))
    assert live.add(voice(2, seconds=0.6)) == 0
    live.add(voice(1))
    assert live.add(voice(0, seconds=0.6)) == 0


def test_evidence_joins_what_was_taken_for_two() -> None:
    """A first poor utterance founds a speaker; later ones show that there is only one."""
    live = LiveSpeakers()
    middle = PEOPLE[0] + 1.6 * PEOPLE[1]
    first = Voice((middle + 1.6 * PEOPLE[2]) / np.linalg.norm(middle + 1.6 * PEOPLE[2]), 1.2)
    assert live.add(first) == 0 and live.add(voice(0)) == 1
    assert live.add(voice(0, seed=3)) == 1
    assert len(set(live.revised())) == 1 and live.revised()[-1] == 1


def test_numbers_that_are_right_stay() -> None:
    live = LiveSpeakers()
    shown = [live.add(voice(n % 4, seed=n)) for n in range(40)]
    assert live.revised() == shown == live.revised()
    assert live.add(voice(4)) == 4


def test_nothing_heard_nothing_revised() -> None:
    assert LiveSpeakers().revised() == []


def test_a_long_stream_is_bounded_and_right() -> None:
    live = LiveSpeakers()
    shown = [live.add(voice(n % 5, seed=n)) for n in range(1_500)]
    assert live.revised() == shown and set(shown) == set(range(5))


def test_readers_are_told_apart_as_they_speak(models_dir: Path) -> None:
    engine = OnnxSpeakers(Settings(models_dir=models_dir))
    demo = as_float(asyncio.run(decode((ROOT / "services" / "cli" / "demo.ogg").read_bytes())).mono())
    live, who = LiveSpeakers(), []
    for said in json.loads((ROOT / "tests" / "fixtures" / "demo" / "reference.json").read_text()):
        heard = engine.voice(demo[int(said["start_s"] * 16_000) : int(said["end_s"] * 16_000)])
        if heard:
            live.add(heard)
            who.append(said["speaker"])
    named = list(zip(who, live.revised(), strict=True))
    assert len(who) >= 3 and len(set(named)) == len(set(who)) == len({label for _, label in named})
