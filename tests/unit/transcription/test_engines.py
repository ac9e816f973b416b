"""What every speech engine promises, asked of each that is installed here; NeMo's have an environment of their own.

make test        faster_whisper, fake
make test-nemo   NeMo's RNNT and TDT
"""

from __future__ import annotations

import json
import wave
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.transcription.engines import Capabilities, Heard
from services.transcription.engines.served import open_speech
from services.transcription.settings import Settings
from shared.errors import Invalid
from shared.schemas.transcription import Word

ROOT = Path(__file__).resolve().parents[3]
FIXTURES = ROOT / "tests" / "fixtures"
RATE_HZ = 16_000
PAUSE_S = 3


@dataclass(frozen=True)
class Case:
    """An engine, how it is set, and two things that it understands."""

    settings: dict[str, Any]
    utterances: Callable[[], list[tuple[np.ndarray, str | None]]]
    """Sound and its text; None where the engine makes the text up."""


def read_wav(path: Path) -> np.ndarray:
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getframerate()) == (1, RATE_HZ)
        return np.frombuffer(file.readframes(file.getnframes()), dtype="<i2").astype(np.float32) / 32768


def real_speech() -> list[tuple[np.ndarray, str | None]]:
    from faster_whisper import decode_audio

    said = "ask not what your country can do for you ask what you can do for your country"
    kennedy = decode_audio(str(FIXTURES / "audio" / "jfk.flac"), sampling_rate=RATE_HZ)
    book = "mr john dashwood had then leisure to consider how much there might be prudently in his power to do for them"
    return [(kennedy[int(3.2 * RATE_HZ) :], said), (read_wav(FIXTURES / "audio" / "librivox-sas-0870.wav"), book)]


def tones() -> list[tuple[np.ndarray, str | None]]:
    seconds = [np.sin(np.arange(n * RATE_HZ) / 20).astype(np.float32) / 4 for n in (3, 4)]
    return [(each, None) for each in seconds]


def synthetic(voice: str = "adam") -> list[tuple[np.ndarray, str | None]]:
    first, second = ["echo", "india", "lima", "november", "bravo"], ["golf", "alpha", "kilo", "mike", "delta", "hotel"]
    return [(synthetic_sound(voice, words), " ".join(words)) for words in (first, second)]


@cache
def _clips(voice: str) -> tuple[np.ndarray, dict[str, list[int]]]:
    folder = FIXTURES / "nemo"
    return read_wav(folder / f"{voice}.wav"), json.loads((folder / "words.json").read_text())[voice]


def synthetic_sound(voice: str, words: list[str], gap_s: float = 0.15, around_s: float = 0.5) -> np.ndarray:
    """Words of the fourteen that the small models know, as they were spoken, in any order."""
    sound, where = _clips(voice)
    gap, around = np.zeros(int(gap_s * RATE_HZ), np.float32), np.zeros(int(around_s * RATE_HZ), np.float32)
    return np.concatenate([around, *(part for each in words for part in (sound[slice(*where[each])], gap)), around])


def installed() -> list[Any]:
    nemo = {"engine": "nemo", "models_dir": str(FIXTURES / "nemo"), "threads": 1}
    cases = [pytest.param(Case({"engine": "fake"}, tones), id="fake")]
    if find_spec("ctranslate2") is not None:
        cases.append(pytest.param(Case({"engine": "faster_whisper", "beam_size": 1}, real_speech), id="faster_whisper"))
    if find_spec("nemo") is not None:
        for kind in ("tdt", "rnnt"):
            case = Case(nemo | {"transcription_model": f"{kind}.nemo"}, synthetic)
            cases.append(pytest.param(case, id=f"nemo_{kind}", marks=pytest.mark.nemo))
    return cases


class Opened:
    """An engine as the model's process offers it."""

    def __init__(self, case: Case) -> None:
        self.case, self.utterances = case, case.utterances()
        self.calls = self.open()

    def open(self) -> dict[str, Any]:
        return open_speech(Settings(**self.case.settings))

    @property
    def capabilities(self) -> Capabilities:
        able: Capabilities = self.calls["facts"]()
        return able

    def hear(self, sound: np.ndarray, **options: str) -> Heard:
        heard: Heard = self.calls["transcribe"](sound=sound, **options)
        return heard


@pytest.fixture(scope="module", params=installed())
def engine(request: pytest.FixtureRequest) -> Opened:
    return Opened(request.param)


def silence(seconds: float) -> np.ndarray:
    return np.zeros(int(seconds * RATE_HZ), dtype=np.float32)


def noise(seconds: float, level: float) -> np.ndarray:
    return np.random.default_rng(5).normal(0, level, int(seconds * RATE_HZ)).astype(np.float32)


def words_of(heard: Heard) -> list[Word]:
    return [word for segment in heard.segments for word in segment.words]


def plain(text: str) -> list[str]:
    return "".join(each for each in text.lower() if each.isalnum() or each == " ").split()


def errors(wanted: str, heard: Heard) -> float:
    """Word error rate."""
    import jiwer

    return float(jiwer.wer(" ".join(plain(wanted)), " ".join(plain(" ".join(each.text for each in heard.segments)))))


def require_order(heard: Heard, sound: np.ndarray) -> None:
    """Segments inside the sound and one after another, words inside their segment and one after another."""
    end_s = len(sound) / RATE_HZ
    reached_s = 0.0
    for segment in heard.segments:
        assert reached_s <= segment.start_s <= segment.end_s <= end_s + 1e-6
        assert 0.0 <= segment.confidence <= 1.0 and segment.text.strip()
        at_s = segment.start_s
        for word in segment.words:
            assert at_s <= word.start_s <= word.end_s <= segment.end_s
            assert 0.0 <= word.confidence <= 1.0
            at_s = word.end_s
        reached_s = segment.end_s


def test_it_says_what_it_can_do(engine: Opened) -> None:
    able = engine.capabilities
    assert able.model and able.languages
    assert all(each.isalpha() and each.islower() and 2 <= len(each) <= 3 for each in able.languages)
    heard = engine.hear(engine.utterances[0][0])
    assert heard.segments and heard.language in able.languages
    assert all(bool(each.words) == able.word_timestamps for each in heard.segments)


@pytest.mark.parametrize("samples", [0, 1, 159, 1_600])
def test_hardly_any_sound_is_no_speech(engine: Opened, samples: int) -> None:
    sound = np.zeros(samples, dtype=np.float32)
    assert engine.hear(sound).segments == []
    assert all(0 <= start <= end <= samples / RATE_HZ for start, end in engine.calls["pauses"](sound=sound))


@pytest.mark.parametrize("sound", [silence(5), noise(5, 1e-4)], ids=["digital", "hiss"])
def test_silence_is_no_speech(engine: Opened, sound: np.ndarray) -> None:
    assert engine.hear(sound).segments == []


def test_noise_breaks_nothing(engine: Opened) -> None:
    sound = np.clip(noise(6, 0.2), -1, 1)
    heard = engine.hear(sound)
    require_order(heard, sound)
    assert not heard.segments or engine.utterances[0][1] is None, "an engine that is not made up hears words in noise"


def test_everything_is_in_order(engine: Opened) -> None:
    for sound, _ in engine.utterances:
        heard = engine.hear(sound)
        assert heard.segments
        require_order(heard, sound)
        for segment in heard.segments:
            assert plain(segment.text) == plain(" ".join(word.word for word in segment.words))


def test_it_hears_what_was_said(engine: Opened) -> None:
    for sound, text in engine.utterances:
        assert text is None or errors(text, engine.hear(sound)) <= 0.1


def test_a_language_is_honoured_or_refused(engine: Opened) -> None:
    sound = engine.utterances[0][0]
    assert engine.hear(sound, language="en").language == "en"
    with pytest.raises(Invalid, match="understands"):
        engine.hear(sound, language="xx")


def test_hotwords_do_no_harm_where_it_takes_none(engine: Opened) -> None:
    """And where it takes some, the speech is still heard."""
    sound, text = engine.utterances[0]
    with_them, without = engine.hear(sound, hotwords="Nemo, country"), engine.hear(sound)
    if engine.capabilities.hotwords:
        assert text is not None and errors(text, with_them) <= 0.1
    else:
        assert [each.text for each in with_them.segments] == [each.text for each in without.segments]


@pytest.mark.parametrize(
    "wrong",
    [lambda x: (x * 32767).astype(np.int16), lambda x: x.astype(np.float64), lambda x: np.stack([x, x], axis=1)],
    ids=["int16", "float64", "stereo"],
)
def test_only_mono_float32_is_sound(engine: Opened, wrong: Callable[[np.ndarray], np.ndarray]) -> None:
    with pytest.raises(Invalid, match="float32"):
        engine.hear(wrong(engine.utterances[0][0]))


def test_the_same_sound_is_the_same_text(engine: Opened) -> None:
    sound = engine.utterances[1][0]
    before = sound.copy()
    once, again = engine.hear(sound), engine.hear(sound)
    assert [each.text for each in once.segments] == [each.text for each in again.segments]
    assert words_of(once) == words_of(again)
    assert (sound == before).all()


def test_a_pause_between_two_utterances_costs_neither(engine: Opened) -> None:
    (first, text), (second, more) = engine.utterances
    both = np.concatenate([first, silence(PAUSE_S), second])
    heard = engine.hear(both)
    require_order(heard, both)
    middle_s = len(first) / RATE_HZ + PAUSE_S / 2
    counts = [sum(word.start_s < middle_s for word in words_of(heard)), 0]
    counts[1] = len(words_of(heard)) - counts[0]
    if text is None or more is None:
        assert counts == [len(words_of(engine.hear(each))) for each in (first, second)]
    else:
        assert errors(f"{text} {more}", heard) <= 0.1
        assert counts[0] == pytest.approx(len(plain(text)), abs=2)


def test_pauses_are_inside_the_sound_and_silent(engine: Opened) -> None:
    (first, text), (second, _) = engine.utterances
    both = np.concatenate([first, silence(PAUSE_S), second])
    found = engine.calls["pauses"](sound=both)
    loud = np.abs(first).mean()
    for start, end in found:
        assert 0 <= start < end <= len(both) / RATE_HZ
        assert np.abs(both[int(start * RATE_HZ) : int(end * RATE_HZ)]).mean() < loud / 3
    middle_s = len(first) / RATE_HZ + PAUSE_S / 2
    assert text is None or any(start < middle_s < end for start, end in found)


def test_parked_and_woken_it_answers_the_same(engine: Opened) -> None:
    """Where it cannot be parked it is made anew, as the model's process does."""
    sound = engine.utterances[0][0]
    before = engine.hear(sound)
    if {"park", "wake"} <= engine.calls.keys():
        engine.calls["park"]()
        engine.calls["wake"]()
    else:
        engine.calls = engine.open()
    assert words_of(engine.hear(sound)) == words_of(before)
