"""What makes a passage the answer: by itself, and by what was said around it."""

from __future__ import annotations

from services.rag.fusion import WEIGHTS, Candidate, own_scores, ranked


def order(own: dict[int, float], *candidates: Candidate) -> list[int]:
    return [chunk for chunk, _ in ranked(candidates, own)]


def dialogue(*, asks: bool = True) -> list[Candidate]:
    """Three turns of one recording: a question, its answer, and what came then."""
    return [
        Candidate(1, "rec", asks=asks, around=(None, None, 2)),
        Candidate(2, "rec", around=(1, None, 3)),
        Candidate(3, "rec", around=(2, 1, None)),
    ]


def test_the_turn_after_a_question_is_the_answer() -> None:
    assert order({1: 0.8, 2: 0.1, 3: 0.1}, *dialogue())[0] == 2


def test_what_is_no_question_stays_before_what_follows_it() -> None:
    assert order({1: 0.8, 2: 0.1, 3: 0.1}, *dialogue(asks=False))[0] == 1


def test_what_fits_by_itself_wins_whatever_stands_around_others() -> None:
    assert order({1: 0.1, 2: 0.1, 3: 0.9}, *dialogue())[0] == 3


def test_a_note_is_not_outdone_by_a_passage_that_only_stands_near() -> None:
    own = {1: 0.5, 2: 0.1, 3: 0.1, 4: 0.7}
    assert order(own, *dialogue(), Candidate(4, "mem"))[0] == 4


def test_the_recording_that_fits_best_elsewhere_decides_between_equals() -> None:
    own = {1: 0.3, 2: 0.3, 3: 0.6}
    alone, other = Candidate(1, "rec_a"), Candidate(2, "rec_b")
    assert order(own, alone, other, Candidate(3, "rec_b")) == [3, 2, 1]


def test_words_a_named_speaker_and_meaning_add_up() -> None:
    candidates = [Candidate(1, "a"), Candidate(2, "b"), Candidate(3, "c", is_named=True), Candidate(4, "d")]
    own = own_scores(candidates, {1: 0.4, 2: 0.4, 3: 0.4, 4: -0.2}, {2: 1.0}, WEIGHTS)
    assert own == {1: 0.4, 2: 0.4 + WEIGHTS.words, 3: 0.4 + WEIGHTS.named, 4: 0.0}


def test_scores_are_between_nothing_and_one() -> None:
    best = 1 + WEIGHTS.words
    assert all(0 <= score <= 1 for _, score in ranked(dialogue(asks=False), dict.fromkeys((1, 2, 3), best)))
    assert ranked([Candidate(1, "a")], {1: 0.0}) == [(1, 0.0)]
    assert ranked([], {}) == []
