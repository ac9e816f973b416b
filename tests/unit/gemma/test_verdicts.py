"""What a sentence states, and whether its source states it too."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.gemma import quantities, verdicts, wording
from services.gemma.verdicts import Source

MEETING = Source(
    "We meet on Friday at half past six, not at seven. Carla brings 1,200 leaflets. The old printer is broken.",
    "Ben Planning call",
)


def verdict(sentence: str, source: Source = MEETING) -> str:
    return verdicts.judge(sentence, source.units).verdict


def why(sentence: str, source: Source = MEETING) -> str | None:
    return verdicts.judge(sentence, source.units).why


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("fifteen", "15"),
        ("twenty-five", "25"),
        ("1,200 leaflets", "1200 leaflets"),
        ("two million", "2000000"),
        ("half past six", "6:30"),
        ("quarter to seven", "18:45"),
        ("4 p.m.", "16:00"),
        ("noon", "12"),
        ("the third", "the 3rd"),
        ("42%", "42 percent"),
        ("two years", "24 months"),
        ("half an hour", "30 minutes"),
        ("a dozen", "12"),
        ("a hundred", "100"),
    ],
)
def test_one_value_said_in_two_ways_is_one(one: str, other: str) -> None:
    (a,), (b,) = (quantities.values_of(text)[0] for text in (one, other))
    assert a.equals(b) and b.equals(a)


@pytest.mark.parametrize(("one", "other"), [("15", "50"), ("6:30", "7:30"), ("Monday", "Tuesday"), ("3.2", "32")])
def test_different_values_are_told_apart(one: str, other: str) -> None:
    (a,), (b,) = (quantities.values_of(text)[0] for text in (one, other))
    assert not a.equals(b)


@pytest.mark.parametrize(
    "sentence",
    [
        "We meet on Friday at half past six.",
        "They meet on Friday at 6:30.",
        "Carla is bringing 1200 leaflets.",
        "Ben said that the old printer is broken.",
    ],
)
def test_what_was_said_is_supported(sentence: str) -> None:
    assert verdict(sentence) == "supported"


@pytest.mark.parametrize(
    ("sentence", "reason"),
    [
        ("We meet on Monday at half past six.", "day"),
        ("We meet on Friday at half past eight.", "time"),
        ("Carla brings 1,300 leaflets.", "number"),
        ("Julia brings 1,200 leaflets.", "name"),
        ("The old printer is not broken.", "negation"),
        ("The new printer is broken.", "opposite"),
    ],
)
def test_what_was_said_otherwise_is_contradicted(sentence: str, reason: str) -> None:
    assert verdict(sentence) == "contradicted" and why(sentence) == reason


@pytest.mark.parametrize(
    "sentence",
    ["The leaflets are printed on yellow paper.", "Dan pays for the taxi.", "The room has a view of the lake."],
)
def test_what_was_not_said_is_unsupported(sentence: str) -> None:
    assert verdict(sentence) == "unsupported"


def test_what_is_made_up_beside_what_was_said_is_not_supported_by_its_cosine() -> None:
    units = MEETING.units
    said = "The old printer is broken because somebody spilled coffee over it."
    assert verdicts.judge(said, units, [0.9] * len(units)).verdict == "unsupported"


def test_a_speakers_name_is_known_where_they_tell_of_themselves() -> None:
    told = Source("I sold my bicycle.", "Walter Phone call")
    assert verdict("Walter sold the bicycle.", told) == "supported"
    assert verdict("Walter sold the bicycle.", Source("Anna sold my bicycle.", "Walter")) == "contradicted"


def test_not_open_is_closed() -> None:
    assert verdict("The shop is not open on Sunday.", Source("The shop is closed on Sunday.")) == "supported"
    assert verdict("The shop is open on Sunday.", Source("The shop is closed on Sunday.")) == "contradicted"


def test_a_denial_reaches_no_further_than_its_clause() -> None:
    fell = Source("Dad fell on the stairs but he did not break his leg.")
    assert verdict("Dad fell on the stairs.", fell) == "supported"
    assert verdict("Dad broke his leg.", fell) == "contradicted"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("It rained. We left at 3 p.m. on foot.", ["It rained.", "We left at 3 p.m. on foot."]),
        ("Dr. Weber came. He was late!", ["Dr. Weber came.", "He was late!"]),
        ("He said “It rained.” We left.", ["He said “It rained.”", "We left."]),
        ("one line\nanother", ["one line", "another"]),
        ("Version 2.4 ships.", ["Version 2.4 ships."]),
    ],
)
def test_sentences_end_where_a_reader_ends_them(text: str, parts: list[str]) -> None:
    assert [text[begin:end] for begin, end in verdicts.sentences(text)] == parts


@pytest.mark.parametrize(("one", "other"), [("broke", "broken"), ("deliveries", "delivered"), ("trains", "training")])
def test_forms_of_a_word_are_akin(one: str, other: str) -> None:
    assert wording.akin(wording.stem(one), wording.stem(other))


@settings(deadline=None)
@given(st.text(max_size=300), st.text(max_size=300))
def test_any_text_gets_a_verdict(sentence: str, said: str) -> None:
    found = verdicts.judge(sentence, Source(said).units)
    assert 0 <= found.score <= 1 and found.verdict in ("supported", "contradicted", "unsupported")
    for begin, end in verdicts.sentences(sentence):
        assert sentence[begin:end].strip() == sentence[begin:end] != ""


WORDS = [
    "bridge",
    "harbour",
    "painted",
    "green",
    "twelve",
    "not",
    "Carla",
    "boats",
    "Friday",
    "sold",
    "because",
    "under",
    "the",
    "quickly",
    "three",
    "Leeds",
]


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=9), min_size=1, max_size=4))
def test_a_text_supports_its_own_sentences(said: list[list[str]]) -> None:
    text = " ".join(f"Indeed {' '.join(words)}." for words in said)
    source = Source(text)
    for begin, end in verdicts.sentences(text):
        if verdicts.states(text[begin:end]):
            assert verdict(text[begin:end], source) == "supported"
