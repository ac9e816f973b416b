"""Which sentence answers, and the seconds in which it was said."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gemma import evidence
from shared.schemas.rag import HitMetadata, SearchHit
from shared.schemas.transcription import Segment, Transcript, Word

AT = datetime(2026, 3, 1, tzinfo=UTC)


def hit(content: str, similarity: float | None, memory_id: str = "mem_1", **more: object) -> SearchHit:
    """With the score that search gives a note."""
    facts = {"memory_id": memory_id, "memory_type": "note", "created_at": AT, "similarity": similarity} | more
    score = 0.5 if similarity is None else 0.6 * max(similarity, 0.0)
    return SearchHit(content=content, score=score, metadata=HitMetadata.model_validate(facts))


def spoken(text: str, start_s: float = 0.0) -> Transcript:
    words = [
        Word(word=word, start_s=start_s + n, end_s=start_s + n + 0.8, confidence=0.9)
        for n, word in enumerate(text.split())
    ]
    segment = Segment(
        segment_id="seg_1",
        start_s=start_s,
        end_s=words[-1].end_s,
        speaker="SPEAKER_00",
        text=text,
        confidence=1,
        words=words,
    )
    return Transcript(
        transcript_id="rec_1", status="completed", title="Call", created_at=AT, text=text, segments=[segment]
    )


def test_the_sentence_that_answers_is_chosen_not_the_whole_memory() -> None:
    said = "It rained all day. The parcel was delivered on Tuesday. We had soup."
    (quote,) = evidence.choose("When was the parcel delivered?", [hit(said, 0.5)])
    assert quote.text == "The parcel was delivered on Tuesday."


def test_what_speaks_of_something_else_is_no_answer() -> None:
    assert evidence.choose("What colour is the car?", [hit("The soup needs salt.", 0.05)]) == []
    assert evidence.choose("What colour is the car?", []) == []


def test_meaning_is_enough_without_a_word_in_common() -> None:
    (quote,) = evidence.choose("How do I get into the house?", [hit("The spare key lies under the pot.", 0.45)])
    assert quote.text == "The spare key lies under the pot."


def test_the_best_memory_comes_first_and_weak_ones_are_left_out() -> None:
    hits = [
        hit("Dinner was nice.", 0.31, "mem_weak"),
        hit("The meeting with Kim is on Friday.", 0.7, "mem_best"),
        hit("Kim likes meetings in the morning.", 0.6, "mem_good"),
    ]
    quotes = evidence.choose("When is the meeting with Kim?", hits)
    assert [quote.hit.metadata.memory_id for quote in quotes] == ["mem_best", "mem_good"]


def test_a_turn_that_shares_nothing_with_the_question_is_quoted_where_search_puts_it_first() -> None:
    asks, answers = (
        hit("And the price of the roof?", 0.6, "mem_asks"),
        hit("Seven thousand eight hundred.", 0.05, "mem_price"),
    )
    asks.score, answers.score = 0.4, 0.6
    quotes = evidence.choose("What does the roof cost?", [answers, asks])
    assert quotes[0].text == "Seven thousand eight hundred."
    assert evidence.choose("What does the roof cost?", [answers]) == [], "alone it speaks to nothing"


@pytest.mark.parametrize(
    ("a", "b"), [("deliver", "delivered"), ("keys", "key's"), ("walking", "walked"), ("boxes", "box")]
)
def test_endings_do_not_hide_a_word(a: str, b: str) -> None:
    assert evidence.stems(a) == evidence.stems(b)


def test_the_seconds_are_those_of_the_quoted_words() -> None:
    transcript = spoken("Well it rained. The parcel was delivered on Tuesday. And we had soup.", start_s=100)
    found = hit(transcript.text, 0.6, transcript_id="rec_1", start_s=100.0, end_s=113.0, speaker="SPEAKER_00")
    (quote,) = evidence.choose("When was the parcel delivered?", [found])
    citation = evidence.cite(quote, transcript)
    assert (citation.start_s, citation.end_s) == (103.0, 108.8)
    assert citation.quote == "The parcel was delivered on Tuesday." and citation.transcript_id == "rec_1"


def test_words_that_are_not_found_leave_the_times_of_the_passage() -> None:
    found = hit("The parcel was delivered.", 0.6, transcript_id="rec_1", start_s=5.0, end_s=9.0)
    (quote,) = evidence.choose("Was the parcel delivered?", [found])
    assert evidence.cite(quote, spoken("Something else was said.")).start_s == 5.0
    assert evidence.cite(quote, None).end_s == 9.0


def test_an_answer_names_speaker_second_and_title() -> None:
    transcript = spoken("The parcel was delivered on Tuesday.", start_s=65)
    found = hit(
        transcript.text, 0.6, transcript_id="rec_1", start_s=65.0, end_s=71.0, speaker="SPEAKER_01", title="Call"
    )
    (quote,) = evidence.choose("When was the parcel delivered?", [found])
    told = evidence.answer([evidence.cite(quote, transcript)], {"mem_1": "Call\nwith\nlines"})
    assert told == "“The parcel was delivered on Tuesday.” — Speaker 2 at 1:05 in Call with lines [1]"


@given(st.text(max_size=400), st.text(max_size=100), st.one_of(st.none(), st.floats(-1, 1)))
def test_whatever_is_asked_a_quotation_is_a_part_of_its_memory(
    content: str, question: str, similarity: float | None
) -> None:
    for quote in evidence.choose(question, [hit(content, similarity)] if content else []):
        assert quote.text in content


def test_a_title_ends_no_sentence() -> None:
    (quote,) = evidence.choose(
        "What had John leisure for?", [hit("Mr. John had leisure to consider. Dr. Ho slept.", 0.8)]
    )
    assert quote.text == "Mr. John had leisure to consider."
