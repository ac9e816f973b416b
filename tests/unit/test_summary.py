"""Summaries in the talk's own words."""

from __future__ import annotations

import pytest

from shared import summary
from shared.schemas.transcription import Segment, SpanEmotion

CALL = [
    ("left", "Hello. Thank you for calling."),
    ("right", "Hi. My invoice for October shows a charge for a second router. I only have one router at home."),
    ("left", "Let me see. Yes."),
    ("left", "The second router was added to your invoice by mistake. I will refund the charge this week."),
    ("right", "Great. Will the refund appear on the November invoice?"),
    ("left", "Yes, the refund appears on the November invoice. Is there anything else?"),
    ("right", "No. Goodbye."),
]


def test_the_sentences_that_say_most_in_the_order_of_time() -> None:
    said = summary.sentences(CALL)
    points = summary.key_points(said)
    assert 3 <= len(points) <= 5 and all("router" in each or "refund" in each for each in points)
    order = [str(each) for each in said]
    assert sorted(points, key=order.index) == points
    assert summary.text(said).count(": ") == 2
    assert "Hello" not in summary.text(said)
    assert points == summary.key_points(summary.sentences(CALL))


def test_a_sentence_goes_on_over_segments_of_one_speaker() -> None:
    said = summary.sentences([("left", "The invoice"), ("left", "was wrong."), ("right", "I see.")])
    assert [str(each) for each in said] == ["left: The invoice was wrong.", "right: I see."]


@pytest.mark.parametrize("said", [[], [("left", "")], [("left", "Hello."), ("right", "Hi.")]])
def test_a_short_call_is_not_padded(said: list[tuple[str, str]]) -> None:
    found = summary.sentences(said)
    assert summary.key_points(found) == []
    assert summary.text(found) == " ".join(f"{who}: {text}" for who, text in said if text)


def segment(label: str | None, length_s: float) -> Segment:
    emotion = SpanEmotion(label=label, score=0.9) if label else None
    return Segment(
        segment_id="seg_1", start_s=0, end_s=length_s, speaker="", text="x", confidence=1, words=[], emotion=emotion
    )


@pytest.mark.parametrize(
    ("felt", "expected"),
    [
        ([], None),
        ([(None, 5)], None),
        ([("neutral", 5), ("surprise", 5)], "neutral"),
        ([("joy", 5), ("neutral", 5)], "positive"),
        ([("joy", 1), ("anger", 9)], "negative"),
        ([("joy", 5), ("sadness", 5)], "neutral"),
    ],
)
def test_sentiment_goes_by_time_of_talk(felt: list[tuple[str | None, float]], expected: str | None) -> None:
    assert summary.sentiment([segment(label, length_s) for label, length_s in felt]) == expected
