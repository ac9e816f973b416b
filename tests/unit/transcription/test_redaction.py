"""What is private goes, in every form in which speech engines write it; everything else stays as it was."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.transcription.redaction import AUDIO_NOT_REDACTED, KINDS, Kind, find, parse, redact
from shared.errors import Invalid
from shared.schemas.transcription import Segment, Word

ALL = frozenset(KINDS)

PRIVATE = [
    ("email", "anna@example.org"),
    ("email", "anna.smith+news@mail.example.co.uk."),
    ("email", "Anna at example dot org,"),
    ("email", "anna dot smith at mail dot example dot co dot uk"),
    ("email", "anna underscore smith at my dash company dot com"),
    ("email", "anna at example.org"),
    ("email", "anna @ example .org"),
    ("email", "a n n a at gmail dot c o m"),
    ("email", "anna four two at gmail dot com"),
    ("phone", "+44 20 7946 0958"),
    ("phone", "+442079460958"),
    ("phone", "(555) 123-4567"),
    ("phone", "555-123-4567."),
    ("phone", "555.123.4567"),
    ("phone", "555.1234"),
    ("phone", "555 1234"),
    ("phone", "555 - 123 - 4567"),
    ("phone", "555, 123, 4567,"),
    ("phone", "5, 5, 5, 1, 2, 3, 4"),
    ("phone", "01 42 68 53 00"),
    ("phone", "five five five one two three four"),
    ("phone", "Five, five, five. One, two, three, four."),
    ("phone", "five-five-five one-two-three-four"),
    ("phone", "double four seven nine four six oh nine five eight"),
    ("phone", "oh two oh seven nine four six oh nine five eight"),
    ("phone", "plus four four twenty seven nine four six oh nine five eight"),
    ("phone", "eight hundred five five five one two one two"),
    ("phone", "five five five um one two three four"),
    ("card", "4111-1111-1111-1111"),
    ("card", "4111 1111 1111 1111,"),
    ("card", "4111111111111111"),
    ("card", "378282246310005"),
    ("card", "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1"),
    ("card", "four one one one one one one one one one one one one one one one"),
    ("card", "four triple one triple one triple one triple one triple one"),
]

HARMLESS = [
    "in 1998, 1999 and 2000",
    "from 1998-2003",
    "nineteen eighty four and nineteen eighty five",
    "it costs $1,234,567.00 or 1,200,000 euros",
    "at 10:30 on 2024-01-15 or 01/15/2024 or 12.05.2024",
    "order 123456 of 99 pieces",
    "one two three four five six seven eight nine ten",
    "ten nine eight seven six five four three two one",
    "10, 20, 30, 40, 50",
    "look at the dot there",
    "I was at home. Is it dot two?",
    "they scored 21 14 19 15",
    "pi is 3.14159265 and the server 192.168.1.10",
    "one hundred twenty three thousand four hundred fifty six",
    "Oh, one more thing: two or three of us, four at most.",
    "he paid at noon. me too",
]


def spoken(*lines: str, speaker: str = "A", start_s: float = 0.0) -> list[Segment]:
    """One segment a line, one word every half second."""
    segments, at_s = [], start_s
    for line in lines:
        words = []
        for word in line.split():
            words.append(Word(word=word, start_s=at_s, end_s=at_s + 0.4, confidence=0.9))
            at_s += 0.5
        segments.append(
            Segment(
                segment_id=f"seg_{at_s}",
                start_s=words[0].start_s,
                end_s=words[-1].end_s,
                speaker=speaker,
                text=line,
                confidence=0.9,
                words=words,
            )
        )
    return segments


@pytest.mark.parametrize(("kind", "private"), PRIVATE)
def test_it_becomes_one_word(kind: Kind, private: str) -> None:
    (segment,), count = redact(spoken(f"well then {private} thank you"), ALL)
    assert segment.text == f"well then [{kind}] thank you"
    assert [word.word for word in segment.words] == segment.text.split()
    assert count == 1
    marker, last = segment.words[2], len(private.split()) + 1
    assert (marker.start_s, marker.end_s) == (1.0, last * 0.5 + 0.4)


@pytest.mark.parametrize(("kind", "private"), PRIVATE)
def test_only_what_was_asked_for(kind: Kind, private: str) -> None:
    said = spoken(f"well then {private} thank you")
    assert redact(said, ALL - {kind}) == (said, 0)


@pytest.mark.parametrize("harmless", HARMLESS)
def test_ordinary_numbers_stay(harmless: str) -> None:
    said = spoken(harmless)
    assert redact(said, ALL) == (said, 0)


def test_a_number_dictated_over_segments_with_an_answer_between() -> None:
    said = spoken("my number is five five five", "one two three four ok")
    said.insert(1, spoken("yes", speaker="B", start_s=50)[0])
    found, count = redact(said, ALL)
    assert [each.text for each in found] == ["my number is [phone]", "yes", "[phone] ok"]
    assert count == 1
    assert found[0].words[-1].end_s == said[0].end_s
    assert found[2].words[0].start_s == said[2].start_s


def test_two_speakers_numbers_are_not_joined() -> None:
    said = spoken("five five five") + spoken("one two three four", speaker="B")
    assert redact(said, ALL) == (said, 0)


def test_the_rest_of_a_run_beside_a_card() -> None:
    (segment,), count = redact(spoken("4111 1111 1111 1111 and 12 27, then 555 123 4567"), ALL)
    assert segment.text == "[card] and 12 27, then [phone]"
    assert count == 2


def test_an_engine_without_words_is_redacted_too() -> None:
    said = spoken("call 555-123-4567 now")[0].model_copy(update={"words": []})
    (segment,), count = redact([said], ALL)
    assert (segment.text, segment.words, count) == ("call [phone] now", [], 1)


def test_words_that_are_cut_otherwise_than_the_text() -> None:
    said = spoken("call 555 - 123 - 4567 now")[0].model_copy(update={"text": "Call 555-123-4567  now!"})
    (segment,), count = redact([said], ALL)
    assert segment.text == "Call [phone] now!"
    assert [word.word for word in segment.words] == ["call", "[phone]", "now"]
    assert count == 1


@pytest.mark.parametrize(
    "token",
    [
        "9" * 100_000,
        "a " * 20_000,
        "a@" * 20_000,
        "four one " * 10_000,
        "4111111111111111 " * 5_000,
        "a@b.co " * 20_000,
    ],
)
def test_hostile_lengths_are_read_in_time(token: str) -> None:
    find(token.split(), ALL)


@pytest.mark.parametrize(
    ("text", "kinds"),
    [("email,phone", {"email", "phone"}), (" CARD ,", {"card"}), ("", set()), ("email,email", {"email"})],
)
def test_the_option(text: str, kinds: set[Kind]) -> None:
    assert parse(text) == kinds


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(Invalid, match=r"'address'.*email") as error:
        parse("email,address")
    assert error.value.errors[0].pointer == "/redact"


def test_the_audio_is_not_silent_about_it() -> None:
    assert AUDIO_NOT_REDACTED.code == "audio_not_redacted"


CALM = st.sampled_from(["the", "meeting", "is", "on", "Tuesday", "and", "we", "will", "see", "yes", "no", "thanks"])
PIECES = st.lists(CALM.map(lambda word: (None, word)) | st.sampled_from(PRIVATE), max_size=12)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("AB"), PIECES), max_size=6))
def test_nothing_private_survives_and_nothing_else_is_lost(
    turns: list[tuple[str, list[tuple[str | None, str]]]],
) -> None:
    """Private pieces are set apart by words, as in speech; then the calm words are exactly what is left."""
    said, calm = [], []
    for at, (speaker, pieces) in enumerate(turns):
        words = ["so", *(word for _, piece in pieces for word in (piece, "then"))]
        said += spoken(" ".join(words), speaker=speaker, start_s=at * 1_000.0)
        left = ["so", *(w for kind, piece in pieces for w in (f"[{kind}]" if kind else piece, "then"))]
        calm.append(" ".join(left))
    found, count = redact(said, ALL)
    assert [each.text for each in found] == calm
    assert count == sum(kind is not None for _, pieces in turns for kind, _ in pieces)
    for before, after in zip(said, found, strict=True):
        assert (after.start_s, after.end_s, after.segment_id) == (before.start_s, before.end_s, before.segment_id)
        assert after.words[0].start_s == before.words[0].start_s
        assert after.words[-1].end_s == before.words[-1].end_s
        kept = {(word.word, word.start_s, word.end_s) for word in before.words}
        assert all((w.word, w.start_s, w.end_s) in kept for w in after.words if not w.word.startswith("["))
    assert redact(found, ALL) == (found, 0)


@settings(deadline=None)
@given(st.lists(st.text(max_size=12), max_size=40), st.sets(st.sampled_from(KINDS)))
def test_any_text_is_survived(words: list[str], kinds: set[Kind]) -> None:
    tokens = " ".join(words).split()
    found = find(tokens, frozenset(kinds))
    assert all(0 <= each.start < each.end <= len(tokens) and each.kind in kinds for each in found)
    assert all(a.end <= b.start for a, b in pairwise(found))
