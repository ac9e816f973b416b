"""Words to speakers: by time, at the level of words, overlap marked."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from services.transcription.diarization import assign
from services.transcription.engines import Turn
from shared.schemas.transcription import Segment, Word


def segment(words: Sequence[tuple[str, float, float]], text: str | None = None) -> Segment:
    said = [Word(word=word, start_s=start_s, end_s=end_s, confidence=0.9) for word, start_s, end_s in words]
    return Segment(
        segment_id="seg_1",
        start_s=said[0].start_s if said else 0,
        end_s=said[-1].end_s if said else 1,
        speaker="SPEAKER_00",
        text=text or " ".join(word.word for word in said),
        confidence=0.9,
        words=said,
    )


def spoken(count: int, begin_s: float = 0.0) -> list[tuple[str, float, float]]:
    return [(f"w{n}", begin_s + n * 0.5, begin_s + n * 0.5 + 0.4) for n in range(count)]


def labels(found: Sequence[Segment]) -> list[tuple[str, int]]:
    return [(each.speaker[-2:], len(each.words)) for each in found]


def test_a_word_that_no_turn_covers_goes_to_the_nearest() -> None:
    found = assign(
        [segment([("a", 0, 0.4), ("b", 2.1, 2.3), ("c", 2.8, 2.9), ("d", 4, 5)])], [Turn(0, 2, 0), Turn(3, 5, 1)]
    )
    assert labels(found) == [("00", 2), ("01", 2)]


def test_a_word_of_agreement_inside_anothers_sentence_is_a_turn() -> None:
    """Only where nobody else talks in it; a speaker who talks on keeps the word, and the segment says overlap."""
    words = [segment(spoken(7))]
    assert labels(assign(words, [Turn(0, 1.48, 0), Turn(1.48, 1.95, 1), Turn(1.95, 4, 0)])) == [
        ("00", 3),
        ("01", 1),
        ("00", 3),
    ]
    over = assign(words, [Turn(0, 4, 0), Turn(1.0, 2.2, 1)])
    assert labels(over) == [("00", 7)] and over[0].overlap


def test_one_word_at_an_edge_is_no_turn() -> None:
    turns = [Turn(0, 1.7, 0), Turn(1.55, 1.9, 1), Turn(1.8, 4, 0)]
    assert labels(assign([segment(spoken(7))], turns)) == [("00", 7)]


def test_little_overlap_is_not_marked() -> None:
    found = assign([segment(spoken(20))], [Turn(0, 10, 0), Turn(4, 4.3, 1)])
    assert not found[0].overlap
    assert not any(each.overlap for each in assign([segment(spoken(4))], [Turn(0, 1, 0), Turn(1, 2, 1)]))


def test_punctuation_and_identity_stay_where_nothing_is_cut() -> None:
    given_ = segment(spoken(3), "W0, w1: w2!")
    (found,) = assign([given_], [Turn(0, 2, 1)])
    assert (found.text, found.segment_id, found.speaker) == ("W0, w1: w2!", "seg_1", "SPEAKER_01")


def test_a_segment_without_words_is_kept() -> None:
    (found,) = assign([segment([], "Thank you.")], [Turn(0, 0.2, 0), Turn(0.2, 1, 1)])
    assert (found.text, found.speaker, found.start_s, found.end_s) == ("Thank you.", "SPEAKER_01", 0, 1)


TURNS = st.lists(st.tuples(st.integers(0, 300), st.integers(1, 40), st.integers(0, 3)), min_size=1, max_size=12)
WORDS = st.lists(st.tuples(st.integers(0, 10), st.integers(1, 10)), max_size=30)


@given(TURNS, WORDS)
def test_no_word_is_lost_and_times_are_those_of_words(
    turns: list[tuple[int, int, int]], gaps: list[tuple[int, int]]
) -> None:
    at_s, words = 0.0, []
    for gap, length in gaps:
        words.append((f"w{len(words)}", at_s + gap / 10, at_s + (gap + length) / 10))
        at_s = words[-1][2]
    found = assign([segment(words)], [Turn(a / 10, (a + b) / 10, who) for a, b, who in turns])
    assert [word.word for each in found for word in each.words] == [word for word, *_ in words]
    for each in found:
        if each.words:
            assert (each.start_s, each.end_s) == (each.words[0].start_s, each.words[-1].end_s)
        assert int(each.speaker[-2:]) in {who for *_, who in turns}
    assert all(one.speaker != other.speaker for one, other in pairwise(found))


def test_two_hours_are_assigned_as_by_trying_every_turn() -> None:
    """The search over sorted turns finds what comparing each word with each turn would."""
    draw, turns, at_s = random.Random(3), [], 0.0
    while at_s < 7_200:
        length_s = draw.uniform(0.5, 8)
        turns.append(Turn(at_s, at_s + length_s, draw.randrange(4)))
        at_s += length_s + draw.uniform(0.1, 1)
    parts = [segment([("w", n * 0.4, n * 0.4 + 0.35)]) for n in range(18_000)]
    found = assign(parts, turns)
    for at in draw.sample(range(18_000), 200):
        shared = [min(t.end_s, parts[at].end_s) - max(t.start_s, parts[at].start_s) for t in turns]
        talks: dict[int, float] = {}
        for turn, seconds in zip(turns, shared, strict=True):
            if seconds > 0:
                talks[turn.speaker] = talks.get(turn.speaker, 0.0) + seconds
        nearest = max(range(len(turns)), key=shared.__getitem__)
        best = max(talks.values()) if talks else None
        who = int(found[at].speaker[-2:])
        assert (
            (abs(talks.get(who, 0.0) - best) < 0.002)
            if best
            else abs(max(s for s, t in zip(shared, turns, strict=True) if t.speaker == who) - shared[nearest]) < 0.002
        )
