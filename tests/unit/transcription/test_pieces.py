"""Speech cut for a model that hears a limited time at once, and the words put together again."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("faster_whisper", reason="the detector of speech comes with faster-whisper (extra `cpu`)")

from services.transcription.engines.nemo import in_order, segments_of, words_of
from services.transcription.engines.pieces import RATE_HZ, pauses, quietest, spoken
from shared.schemas.transcription import Word
from tests.unit.transcription.test_engines import synthetic_sound

WORDS = ["alpha", "delta", "echo", "november", "golf", "hotel", "mike", "lima"] * 5


@pytest.mark.parametrize("most_s", [4.0, 6.5, 30.0])
def test_pieces_are_short_enough_and_hold_all_speech(most_s: float) -> None:
    sound = synthetic_sound("fiona", WORDS)
    whole, pieces = spoken(sound, 1e6), spoken(sound, most_s)
    assert max(end - begin for begin, end in pieces) <= most_s * RATE_HZ
    held = np.zeros(len(sound), dtype=int)
    for begin, end in pieces:
        held[begin:end] += 1
    wanted = np.zeros(len(sound), dtype=int)
    for begin, end in whole:
        wanted[begin:end] = 1
    assert (held == wanted).all(), "something is lost or heard twice"
    assert wanted[np.abs(sound) > 0.05].mean() > 0.99


def test_cuts_lie_between_words() -> None:
    sound = synthetic_sound("adam", WORDS)
    pieces = spoken(sound, 5.0)
    inner = [end for (_, end), (begin, _) in pairwise(pieces) if end == begin]
    assert len(inner) >= 4
    for at in inner:
        assert np.abs(sound[at - RATE_HZ // 50 : at + RATE_HZ // 50]).max() < 0.01


def test_the_quietest_place_is_in_the_gap() -> None:
    loud = np.sin(np.arange(RATE_HZ)).astype(np.float32)
    sound = np.concatenate([loud, np.zeros(3_200, np.float32), loud])
    assert RATE_HZ < quietest(sound, 0, len(sound)) < RATE_HZ + 3_200
    assert quietest(np.zeros(RATE_HZ, np.float32), 4_000, 8_000) in range(4_000, 8_001)


def test_unbroken_noise_is_cut_all_the_same() -> None:
    sound = synthetic_sound("adam", WORDS, gap_s=0.0)
    pieces = spoken(sound, 4.0)
    assert all(0 < end - begin <= 4 * RATE_HZ for begin, end in pieces)


@pytest.mark.parametrize("samples", [0, 1, 159, 511, 16_000])
def test_silence_has_no_pieces_and_is_one_pause(samples: int) -> None:
    sound = np.zeros(samples, dtype=np.float32)
    assert spoken(sound, 10) == []
    assert pauses(sound) == ([(0.0, samples / RATE_HZ)] if samples else [])


def word(text: str, start_s: float, end_s: float) -> Word:
    return Word(word=text, start_s=start_s, end_s=end_s, confidence=0.5)


def test_words_that_overlap_are_put_in_order() -> None:
    found = in_order([word("a", 0.0, 0.9), word("b", 0.64, 1.2), word("c", 0.6, 0.5), word("d", 1.3, 1.0)])
    assert [(each.word, each.start_s, each.end_s) for each in found] == [
        ("a", 0.0, 0.64),
        ("b", 0.64, 0.64),
        ("c", 0.64, 0.64),
        ("d", 1.3, 1.3),
    ]


def test_a_gap_begins_a_new_segment() -> None:
    found = segments_of([word("a", 0, 0.3), word("b", 0.5, 0.8), word("c", 1.2, 1.5)])
    assert [(each.text, each.start_s, each.end_s, each.confidence) for each in found] == [
        ("a b", 0, 0.8, 0.5),
        ("c", 1.2, 1.5, 0.5),
    ]


def hypothesis(words: list[tuple[str, float, float]], confidence: Any) -> Any:
    times = [{"word": text, "start": start, "end": end} for text, start, end in words]
    return SimpleNamespace(timestamp={"word": times}, word_confidence=confidence)


def test_words_stay_inside_their_piece_and_keep_their_confidence() -> None:
    heard = hypothesis([("one", 0.08, 0.4), ("two", 0.8, 1.44)], [0.71, 1.2])
    found = words_of(heard, 10.0, 11.3)
    assert [(each.word, each.start_s, each.end_s, each.confidence) for each in found] == [
        ("one", 10.08, 10.4, 0.71),
        ("two", 10.8, 11.3, 1.0),
    ]
    assert [each.confidence for each in words_of(hypothesis([("one", 0, 1)], None), 0, 2)] == [1.0]
