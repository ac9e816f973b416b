"""Whether what was found can hold what is asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gemma import asked, evidence
from shared.schemas.rag import Citation
from tests.unit.gemma.test_evidence import hit

VISIT = "The plumber comes on Tuesday at nine and looks at the tap in the kitchen."
LAPTOP = "The laptop switches itself off after twenty minutes."


@pytest.mark.parametrize(
    ("question", "kind", "words"),
    [
        ("What colour is the plumber's van?", "colour", ()),
        ("How old is the dog?", "age", ()),
        ("How many guests come to the party?", "count", ()),
        ("How much is the repair?", "number", ()),
        ("What did the repair cost?", "number", ()),
        ("Until when is he away?", "moment", ()),
        ("On which day is the shop shut?", "moment", ()),
        ("Which airline flies them to Lisbon?", "thing", ("airline",)),
        ("Which operating system does the laptop have?", "thing", ("system",)),
        ("What is Jonas's blood group?", "thing", ("group",)),
        ("What is the number plate of the car?", "thing", ("plate",)),
        ("What is the mechanic's telephone number?", "number", ("telephone",)),
    ],
)
def test_what_is_asked_for(question: str, kind: str, words: tuple[str, ...]) -> None:
    assert asked.asked_for(question) == asked.Asked(kind, words)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "question",
    [
        "Who comes on Tuesday?",
        "Why is he late?",
        "What causes the noise?",
        "What is it called?",
        "Wann kommt er?",
        "",
        "??",
    ],
)
def test_anything_may_answer_what_has_no_such_shape(question: str) -> None:
    assert asked.asked_for(question) is None and asked.holds(question, [hit(VISIT, 0.7)])


@pytest.mark.parametrize(
    ("question", "said", "holds"),
    [
        ("What colour is the plumber's van?", VISIT, False),
        ("What colour is the plumber's van?", "The plumber has a green van.", True),
        ("When does the plumber come?", VISIT, True),
        ("When does the plumber come?", "The plumber will come.", False),
        ("How many people does the plumber bring?", "The plumber brings people.", False),
        ("How many people does the plumber bring?", "The plumber brings two people.", True),
        ("How much does the plumber cost?", "The plumber comes on the second of March.", False),
        ("How much does the plumber cost?", "The plumber takes ninety euros.", True),
        ("Which operating system does the laptop have?", LAPTOP, False),
        ("Which operating system does the laptop have?", "The laptop has a new operating system.", True),
        ("How old is the plumber?", "The plumber is forty years old.", True),
        ("How old is the plumber?", "The plumber has forty pipes.", False),
    ],
)
def test_an_answer_must_hold_what_is_asked_for(question: str, said: str, holds: bool) -> None:
    assert asked.holds(question, [hit(said, 0.7)]) is holds


def test_what_another_recording_says_does_not_answer() -> None:
    other = hit("The parcel is red.", 0.2, "mem_2")
    assert not asked.holds("What colour is the plumber's van?", [hit(VISIT, 0.7), other])


def test_where_the_topic_itself_is_in_other_words_nothing_is_concluded_from_words() -> None:
    assert asked.holds("Which vehicle did they get meanwhile?", [hit("You have the little Fiat until then.", 0.45)])


@given(st.text(max_size=200), st.text(max_size=300))
def test_any_question_is_weighed(question: str, content: str) -> None:
    assert asked.holds(question, []) is True
    assert asked.holds(question, [hit(content, 0.5)] if content else []) in (True, False)


def test_what_is_nearest_is_shown_as_that() -> None:
    (quote,) = evidence.choose("What colour is the plumber's van?", [hit(VISIT, 0.7)])
    citation = evidence.cite(quote, None)
    citation.related = True
    assert evidence.answer([citation], {}).splitlines() == [evidence.NEAREST, f"“{VISIT}” [1]"]
    assert Citation.model_validate(citation.model_dump()).related
