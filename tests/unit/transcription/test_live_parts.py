"""The pure parts of the live stream: agreement, endpoints, the outbox."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.transcription.agreement import LocalAgreement
from services.transcription.endpoints import CHUNK, LONGEST, Endpointer, Utterance
from services.transcription.engines.silero import SpeechDetector
from services.transcription.outbox import MOST, Closed, Outbox
from shared.audio.decode import as_float, decode
from shared.schemas.live import Ack, Event, Partial, Warned
from tests.conftest import AUDIO


def test_a_word_is_settled_once_two_looks_agree() -> None:
    agreement = LocalAgreement()
    assert agreement.hear(["and", "so"]) == ([], ["and", "so"])
    assert agreement.hear(["And", "so,", "my"]) == (["And", "so,"], ["my"])
    assert agreement.hear(["and", "so", "my", "fellow"]) == (["my"], ["fellow"])
    assert agreement.hear(["and", "so", "my", "yellow", "cat"]) == ([], ["yellow", "cat"])
    assert agreement.hear(["and", "so", "my", "yellow"]) == (["yellow"], [])


def test_a_word_more_at_the_front_does_not_repeat_what_was_settled() -> None:
    agreement = LocalAgreement()
    for _ in range(2):
        agreement.hear(["we", "went", "home"])
    assert agreement.hear(["oh", "we", "went", "home", "late"]) == ([], ["late"])


@given(st.lists(st.lists(st.sampled_from("abcde"), max_size=12), max_size=12))
def test_what_is_settled_is_never_taken_back(looks: list[list[str]]) -> None:
    agreement, settled = LocalAgreement(), 0
    for look in looks:
        new, rest = agreement.hear(look)
        settled += len(new)
        assert len(rest) <= len(look)
    assert settled <= sum(map(len, looks))


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(1, 500)), max_size=12), st.integers(1, 200))
def test_utterances_are_in_order_and_do_not_depend_on_the_pieces(runs: list[tuple[float, int]], piece: int) -> None:
    probabilities = [value for value, count in runs for _ in range(count)]
    whole, parts = Endpointer(), Endpointer()
    found = whole.feed(probabilities)
    pieces = [each for at in range(0, len(probabilities), piece) for each in parts.feed(probabilities[at : at + piece])]
    assert found == pieces
    last = whole.flush()
    found += [last] if last else []
    edges = [edge for each in found for edge in (each.start, each.end)]
    assert edges == sorted(edges) and all(each.end > each.start for each in found)
    assert all(each.end - each.start <= (LONGEST + 20) * CHUNK for each in found)
    assert not edges or edges[-1] <= len(probabilities) * CHUNK


def test_endless_speech_is_cut_without_a_gap_at_the_least_likely_moment() -> None:
    probabilities = [0.9] * 2_000
    probabilities[780] = 0.6
    found = Endpointer().feed(probabilities)
    assert found[0].end == found[1].start == 780 * CHUNK


@given(st.lists(st.tuples(st.sampled_from([0.05, 0.4, 0.95]), st.integers(1, 40)), max_size=18), st.integers(0, 700))
def test_going_on_after_the_last_utterance_finds_the_rest(runs: list[tuple[float, int]], kill: int) -> None:
    """What a restarted service does; short enough that nothing is cut by force."""
    probabilities = [value for value, count in runs for _ in range(count)]
    whole = Endpointer()
    expected = whole.feed(probabilities)
    before = Endpointer().feed(probabilities[:kill])
    at = before[-1].end // CHUNK if before else 0
    after = Endpointer(at * CHUNK).feed(probabilities[at:])
    assert before + after == expected


async def test_the_detector_hears_the_same_in_any_pieces() -> None:
    sound = as_float((await decode((AUDIO / "jfk.flac").read_bytes())).mono())
    whole = SpeechDetector().feed(sound)
    detector = SpeechDetector()
    pieces = np.concatenate([detector.feed(sound[at : at + 1_001]) for at in range(0, len(sound), 1_001)])
    assert np.allclose(whole, pieces, atol=1e-5) and whole.max() > 0.9
    assert SpeechDetector().feed(np.zeros(32_000, dtype=np.float32)).max() < 0.2


def partial(utterance: int, settled: str, text: str) -> Partial:
    return Partial(utterance=utterance, start_s=0.0, settled=settled, text=text)


async def test_a_slow_reader_gets_fewer_looks_and_all_their_words() -> None:
    outbox = Outbox()
    for event in (Ack(audio_ms=1), Ack(audio_ms=2), partial(1, "and so", "my"), partial(1, "", "my fell"),
                  partial(1, "my", "fellow"), partial(2, "x", "y")):  # fmt: skip
        outbox.put(event)
    found = [await outbox.get() for _ in range(3)]
    assert found[0] == Ack(audio_ms=2)
    assert (found[1].settled, found[1].text) == ("and so my", "fellow")  # type: ignore[attr-defined]
    assert found[2].utterance == 2  # type: ignore[attr-defined]


async def test_who_does_not_read_at_all_is_let_go() -> None:
    outbox = Outbox()
    for _ in range(MOST + 1):
        outbox.put(Warned(code="x", detail="y"))
    with pytest.raises(Closed) as closed:
        await outbox.get()
    assert closed.value.code == 4408


async def test_an_end_comes_after_all_that_waits() -> None:
    outbox = Outbox()
    waiting = asyncio.ensure_future(outbox.get())
    await asyncio.sleep(0)
    outbox.put(Event(seq=7))
    assert (await waiting).seq == 7
    outbox.put(Event(seq=8))
    outbox.end(1000)
    assert (await outbox.get()).seq == 8
    with pytest.raises(Closed):
        await outbox.get()


def test_an_utterance_in_work_is_open() -> None:
    endpoints = Endpointer()
    endpoints.feed([0.0] * 20 + [0.9] * 10)
    assert endpoints.open == Utterance(10 * CHUNK, 30 * CHUNK)
    assert endpoints.settled == 10 * CHUNK
