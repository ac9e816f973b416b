"""Who speaks when, by the real networks, on the demo conversation and on sounds that are none."""

from __future__ import annotations

import asyncio
import json
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from services.transcription.diarization import assign, speakers_of
from services.transcription.engines import Turn
from services.transcription.engines.clustering import clustered, paired
from services.transcription.engines.filter_banks import filter_banks
from services.transcription.engines.onnx_speakers import OnnxSpeakers
from services.transcription.settings import Settings
from shared.audio.decode import as_float, decode
from shared.errors import ModelNotReady
from shared.schemas.transcription import Segment, Word
from tests.conftest import AUDIO, ROOT

REFERENCE = json.loads((ROOT / "tests" / "fixtures" / "demo" / "reference.json").read_text())


@pytest.fixture(scope="module")
def engine(models_dir: Path) -> OnnxSpeakers:
    return OnnxSpeakers(Settings(models_dir=models_dir))


async def sound_of(path: Path) -> np.ndarray:
    return as_float((await decode(path.read_bytes())).mono())


@pytest.fixture(scope="module")
def demo() -> np.ndarray:
    return asyncio.run(sound_of(ROOT / "services" / "cli" / "demo.ogg"))


def main_speaker(turns: list[Turn], start_s: float, end_s: float) -> int:
    def overlap(speaker: int) -> float:
        return sum(max(0.0, min(t.end_s, end_s) - max(t.start_s, start_s)) for t in turns if t.speaker == speaker)

    return max({turn.speaker for turn in turns}, key=overlap)


def test_three_readers_are_told_apart(engine: OnnxSpeakers, demo: np.ndarray) -> None:
    turns = engine.diarize(demo).turns
    assert {turn.speaker for turn in turns} == {0, 1, 2} and turns[0].speaker == 0
    named: dict[str, set[int]] = {}
    for said in REFERENCE:
        named.setdefault(said["speaker"], set()).add(main_speaker(turns, said["start_s"], said["end_s"]))
    assert sorted(map(len, named.values())) == [1, 1, 1], "every utterance of a reader under one speaker"
    assert len(set.union(*named.values())) == 3, "and every reader under another"


@pytest.mark.parametrize(
    ("hints", "count"), [({"num_speakers": 2}, 2), ({"max_speakers": 1}, 1), ({"min_speakers": 3}, 3)]
)
def test_hints_are_kept(engine: OnnxSpeakers, demo: np.ndarray, hints: dict[str, int], count: int) -> None:
    assert len({turn.speaker for turn in engine.diarize(demo, **hints).turns}) == count


async def test_one_voice_is_one_speaker(engine: OnnxSpeakers) -> None:
    turns = engine.diarize(await sound_of(AUDIO / "jfk.flac")).turns
    assert {turn.speaker for turn in turns} == {0}
    assert 6 < sum(turn.end_s - turn.start_s for turn in turns) <= 11


@pytest.mark.parametrize("seconds", [0.0, 0.01, 0.5, 9.99, 10.0, 31.3])
def test_nobody_speaks_in_silence(engine: OnnxSpeakers, seconds: float) -> None:
    assert engine.diarize(np.zeros(int(seconds * 16_000), dtype=np.float32)).turns == []


def test_noise_and_clicks_are_no_reason_to_fail(engine: OnnxSpeakers) -> None:
    noise = np.random.default_rng(3).normal(0, 0.1, 5 * 16_000).astype(np.float32)
    assert all(turn.end_s > turn.start_s for turn in engine.diarize(noise).turns)
    assert all(turn.end_s <= 6 for turn in engine.diarize(noise).turns)


async def test_times_do_not_drift(engine: OnnxSpeakers) -> None:
    """The same utterance after two minutes of silence begins two minutes later."""
    speech = await sound_of(AUDIO / "jfk.flac")
    first = engine.diarize(speech).turns[0].start_s
    late = engine.diarize(np.concatenate([np.zeros(120 * 16_000, dtype=np.float32), speech])).turns[0].start_s
    assert late - first == pytest.approx(120, abs=0.2)


def test_absent_weights_are_told(tmp_path: Path) -> None:
    with pytest.raises(ModelNotReady, match="nemo models pull"):
        OnnxSpeakers(Settings(models_dir=tmp_path))


def test_filter_banks_are_kaldis() -> None:
    """Of a tone: highest where its frequency lies on the mel scale, and the mean taken away."""
    tone = 0.5 * np.sin(2 * np.pi * 1_000 * np.arange(16_000) / 16_000).astype(np.float32)
    quiet = 0.001 * np.random.default_rng(1).normal(size=16_000).astype(np.float32)
    banks = filter_banks(np.concatenate([quiet, tone]))
    assert banks.shape == (198, 80) and banks.dtype == np.float32
    assert np.allclose(banks.mean(axis=0), 0, atol=1e-4)
    assert abs(int((banks[150] - banks[20]).argmax()) - 27) <= 1


def unit(*vectors: list[float]) -> np.ndarray:
    found = np.array(vectors, dtype=np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def test_voices_are_clustered_by_likeness() -> None:
    vectors = unit([1, 0, 0], [0, 1, 0], [0.95, 0.1, 0], [0.1, 1, 0])
    found = clustered(vectors, np.full(4, 10, dtype=np.float32), 0.45)
    assert found[0] == found[2] != found[1] == found[3]


def test_a_voice_that_was_hardly_heard_is_nobody_new() -> None:
    vectors, seconds = unit([1, 0, 0], [0, 1, 0], [0.3, 0.0, 0.9]), np.array([10, 10, 0.9], dtype=np.float32)
    assert len(set(clustered(vectors, seconds, 0.45))) == 2
    assert len(set(clustered(vectors, seconds, 0.45, least=3))) == 3


def test_more_pieces_than_are_clustered_all_get_a_speaker() -> None:
    draw = np.random.default_rng(2)
    people = unit(*draw.normal(size=(3, 32)).tolist())
    who = draw.integers(0, 3, 4_000)
    vectors = unit(*(people[who] + 0.05 * draw.normal(size=(4_000, 32))).tolist())
    found = clustered(vectors, np.ones(4_000, dtype=np.float32), 0.45)
    assert [len(set(found[who == each])) for each in range(3)] == [1, 1, 1] and len(set(found)) == 3


@given(arrays(float, array_shapes(min_dims=2, max_dims=2, max_side=5), elements=st.integers(-9, 9).map(float)))
def test_pairs_have_the_greatest_sum(gains: np.ndarray) -> None:
    found = paired(gains)
    small = gains if gains.shape[0] <= gains.shape[1] else gains.T
    best = max(
        sum(small[row, at] for row, at in enumerate(pick)) for pick in permutations(range(small.shape[1]), len(small))
    )
    assert sum(gains[pair] for pair in found) == best
    assert len({row for row, _ in found}) == len({column for _, column in found}) == min(gains.shape)


def word(text: str, start_s: float) -> Word:
    return Word(word=text, start_s=start_s, end_s=start_s + 0.4, confidence=0.9)


def test_a_segment_is_cut_where_the_speaker_changes() -> None:
    words = [word(text, n * 0.5) for n, text in enumerate(["how", "are", "you", "fine", "thanks", "bye"])]
    segment = Segment(
        segment_id="seg_1", start_s=0, end_s=2.9, speaker="SPEAKER_00", text="...", confidence=1, words=words
    )
    found = assign([segment], [Turn(0, 1.45, 0), Turn(1.45, 3, 1)])
    assert [(each.speaker, each.text) for each in found] == [
        ("SPEAKER_00", "how are you"),
        ("SPEAKER_01", "fine thanks bye"),
    ]
    assert [each.label for each in speakers_of(found)] == ["SPEAKER_00", "SPEAKER_01"]


def test_without_turns_everything_stays() -> None:
    segment = Segment(
        segment_id="seg_1", start_s=0, end_s=1, speaker="SPEAKER_00", text="hi", confidence=1, words=[word("hi", 0)]
    )
    assert assign([segment], []) == [segment]
