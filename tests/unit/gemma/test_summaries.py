"""A talk in short: all of it read, every point with its span."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from services.gemma import digest, points
from services.gemma.spans import Spoken, spoken_of
from services.gemma.summaries import extracted
from shared.schemas.summaries import SummaryRequest
from tests.chat_house import transcript


def test_a_sentence_has_the_seconds_of_its_words() -> None:
    said = transcript(
        ("A", "It rained. The harvest begins"), ("A", "on Monday at six."), ("B", "Good."), names={"A": "Ann"}
    )
    rained, harvest, good = spoken_of(said)
    assert (rained.text, rained.start_s, rained.end_s) == ("It rained.", 0.0, 0.9)
    assert harvest.text == "The harvest begins on Monday at six." and harvest.speaker == "Ann"
    assert harvest.segment_ids == ("seg_00000", "seg_00001") and (harvest.start_s, harvest.end_s) == (1.0, 11.9)
    assert good.speaker == "B"


def test_without_words_the_seconds_are_those_of_the_segments() -> None:
    (said,) = spoken_of(transcript(("A", "The harvest begins"), ("A", "on Monday."), timed=False))
    assert (said.start_s, said.end_s) == (0.0, 19.0)


def test_talk_without_a_full_stop_still_ends() -> None:
    said = spoken_of(transcript(*[("A", "and then we went on and on about the boats " * 4)] * 40))
    assert len(said) > 5 and all(len(each.text) < 1000 for each in said)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.sampled_from("AB"), st.text(max_size=200)), max_size=40), st.integers(50, 400))
def test_every_segment_that_says_something_is_read(said: list[tuple[str, str]], most: int) -> None:
    talk = transcript(*said, timed=False)
    spoken = spoken_of(talk)
    chunks = digest.chunked(spoken, most)
    assert [each for chunk in chunks for each in chunk.said] == spoken, "each sentence once, in order"
    made = extracted(talk, SummaryRequest()).coverage
    assert made.share == 1.0 and made.segments_read == made.segments and made.seconds_read == made.seconds
    assert sum(chunk.sentences for chunk in made.chunks) == len(spoken)


def test_a_long_talk_is_read_to_its_end_in_rounds() -> None:
    talk = transcript(
        *(
            ("A", f"Topic {n} concerns the {word} of the northern harbour. It was raised by the council in {1900 + n}.")
            for n in range(300)
            for word in [("bridge", "ferry", "museum", "market", "tower")[n % 5]]
        )
    )
    made = extracted(talk, SummaryRequest(template="lecture"))
    assert len(made.coverage.chunks) > 5 and made.coverage.share == 1.0 and made.coverage.rounds >= 1
    assert 1 <= len(made.key_points) <= 10
    assert made.coverage.claims_left_out > 0 and len(made.claims) == digest.MOST_CLAIMS
    assert max(each.start_s for each in made.key_points) > 2000, "not only its beginning"
    ids = {segment.segment_id: segment for segment in talk.segments}
    for each in [*made.key_points, *made.claims]:
        assert each.quote in " ".join(ids[name].text for name in each.segment_ids)
        assert ids[each.segment_ids[0]].start_s <= each.start_s < each.end_s <= ids[each.segment_ids[-1]].end_s
    assert made.sentiment == "positive"


def test_nothing_said_is_an_empty_summary() -> None:
    made = extracted(transcript(), SummaryRequest())
    assert (made.text, made.key_points, made.action_items, made.claims, made.sentiment) == ("", [], [], [], None)
    assert made.coverage.share == 1.0 and made.coverage.chunks == []


@pytest.mark.parametrize(
    ("speaker", "text", "assignee", "due"),
    [
        ("Ann", "I will send the contract by Friday.", "Ann", "by Friday"),
        ("Ann", "I'll call the plumber tomorrow.", "Ann", "tomorrow"),
        ("Ann", "Ben, could you book the room until the 15th of May?", "Ben", "until the 15th of May"),
        ("Ann", "Please check the numbers before noon.", "Ben", "before noon"),
        ("Ben", "Carla will write the minutes next week.", "Carla", "next week"),
        ("Ben", "We need to order more paper.", None, None),
        ("Ben", "Don't forget to lock the door.", "Ann", None),
    ],
)
def test_who_took_on_what_until_when(speaker: str, text: str, assignee: str | None, due: str | None) -> None:
    others = [Spoken("Ann", "Hello."), Spoken("Ben", "Hello.")]
    (item,) = points.action_items([*others, Spoken(speaker, text, ("seg_1",), 1.0, 2.0)])
    assert (item.assignee, item.due, item.quote, item.start_s) == (assignee, due, text, 1.0)


@pytest.mark.parametrize(
    "text",
    ["It will rain.", "I will not come.", "I think we will see.", "Could you hear that?", "I'll say it was good."],
)
def test_what_is_no_action_item(text: str) -> None:
    assert points.action_items([Spoken("Ann", text)]) == []


def test_claims_can_be_looked_up() -> None:
    said = [
        "The bridge was built in 1932.",
        "I think it was built in 1932.",
        "Was it built in 1932?",
        "It is lovely.",
        "The mayor met Ada Lovelace.",
    ]
    found = points.claims([Spoken("Ann", text) for text in said])
    assert [each.text for each in found] == [said[0], said[4]]


def test_a_prompt_is_for_the_model() -> None:
    with pytest.raises(ValidationError, match="mode `model`"):
        SummaryRequest(prompt="Only the jokes.")
    with pytest.raises(ValidationError):
        SummaryRequest(mode="model", prompt="x" * 501)
