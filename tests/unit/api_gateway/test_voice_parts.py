"""The pure parts of a voice chat: what is said aloud, what the question is, who speaks over an answer, what is sent."""

from __future__ import annotations

import array
import asyncio
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.api_gateway.outgoing import MOST, Closed, Outgoing
from services.api_gateway.spoken import MOST_CHARS, Spoken, aloud
from services.api_gateway.turns import Gate, Question
from shared.schemas.voice import CLOSE_TOO_SLOW, Sentence, SoundBegins, Token, VoiceWarning

ANSWER = (
    "“Ask not what your country can do for you. Ask what you can.” — Speaker 1 at 0:03 in A speech [1]\n"
    "“We meet at 7:30.” — Anna at 1:05 in Plans, before [3], which says otherwise [2]\n"
    "Dr. Hale walks 3.5 km *every* day [1, 2]. No. He does not."
)
ALOUD = [
    "Ask not what your country can do for you.",
    "Ask what you can, Speaker 1 in A speech",
    "We meet at 7:30, Anna in Plans, before, which says otherwise",
    "Dr. Hale walks 3.5 km every day.",
    "No. He does not.",
]


@pytest.mark.parametrize("size", [1, 2, 7, 50, 1000])
def test_sentences_do_not_depend_on_the_pieces_and_hold_no_marks(size: int) -> None:
    spoken = Spoken(1000)
    found = [each for at in range(0, len(ANSWER), size) for each in spoken.feed(ANSWER[at : at + size])]
    assert found + spoken.end() == ALOUD
    assert not spoken.cut


def test_a_sentence_comes_before_the_answer_is_complete() -> None:
    assert Spoken(1000).feed("The meeting is on Tuesday. And then") == ["The meeting is on Tuesday."]


@pytest.mark.parametrize(
    ("text", "said"),
    [("“It is so.” — Anna at 1:05 in Plans [1]", ["It is so, Anna in Plans"]), ("It is on Tuesday.", ["It is on Tuesday."]),
     ("It is on", []), ("It was Dr.", []), ("", [])],
)  # fmt: skip
def test_a_pause_ends_what_sounds_whole(text: str, said: list[str]) -> None:
    spoken = Spoken(1000)
    assert spoken.feed(text) == [] and spoken.pause() == said
    assert spoken.pause() == [] and bool(spoken.end()) == (bool(text) and not said)


def test_what_is_said_aloud_is_bounded_and_ends_with_a_sentence() -> None:
    spoken = Spoken(60)
    found = spoken.feed("This is the first sentence of all. This is the second, and a long one. Short one. ")
    assert found == ["This is the first sentence of all."] and spoken.cut
    assert spoken.feed("Another. ") + spoken.end() == []


@given(st.text(max_size=2000), st.integers(1, 300))
def test_any_text_can_be_said(text: str, size: int) -> None:
    spoken = Spoken(100_000)
    found = [each for at in range(0, len(text), size) for each in spoken.feed(text[at : at + size])] + spoken.end()
    assert all(0 < len(each) <= MOST_CHARS + size + 1 and "[" not in each for each in found)


def test_numbers_in_brackets_that_are_no_citation_stay_as_words() -> None:
    assert aloud("It was [not] there [2020].") == "It was not there 2020."


def final(text: str, utterance: int = 0, start_s: float = 0.0) -> dict[str, object]:
    return {"type": "final", "utterance": utterance, "start_s": start_s, "text": text}


def partial(settled: str, text: str, utterance: int = 0, start_s: float = 0.0) -> dict[str, object]:
    return {"type": "partial", "utterance": utterance, "start_s": start_s, "settled": settled, "text": text}


def test_a_question_grows_and_its_finals_replace_its_partials() -> None:
    question = Question()
    assert question.partial(partial("what", "is is"))
    assert question.partial(partial("is", "the"))
    assert question.so_far == "what is the" and question.text == ""
    assert question.final(final(" What is the time "))
    question.partial(partial("", "in", utterance=1, start_s=2.0))
    assert question.so_far == "What is the time in" and question.text == "What is the time"
    question.clear()
    assert question.so_far == ""


def test_late_words_of_what_was_dropped_are_not_taken_for_the_next_question() -> None:
    question = Question()
    question.clear(since_s=5.0)
    assert not question.final(final("an echo", start_s=3.0)) and not question.partial(partial("an", "echo", 1, 4.0))
    assert question.final(final("a question", 2, 5.0)) and question.text == "a question"


def tone(amplitude: float, ms: int, rate_hz: int = 16_000) -> bytes:
    count = rate_hz * ms // 1000
    return array.array("h", (int(amplitude * 32_767 * math.sin(at / 5)) for at in range(count))).tobytes()


def test_the_gate_opens_for_loud_speech_that_lasts() -> None:
    gate = Gate(16_000, 300)
    gate.speech = True
    gate.feed(tone(0.3, 280), -40)
    assert not gate.open
    gate.feed(tone(0.3, 40), -40)
    assert gate.open
    gate.speech = False
    assert not gate.open, "loud, but not speech"


@pytest.mark.parametrize("piece", [1, 2, 33, 640, 4800])
def test_the_gate_does_not_depend_on_the_pieces(piece: int) -> None:
    gate, pcm = Gate(16_000, 300), tone(0.3, 320)
    gate.speech = True
    for at in range(0, len(pcm), 2 * piece):
        gate.feed(pcm[at : at + 2 * piece], -40)
    assert gate.open


def test_soft_speech_and_single_knocks_do_not_open_it() -> None:
    gate = Gate(16_000, 300)
    gate.speech = True
    gate.feed(tone(0.003, 5_000), -40)
    assert not gate.open
    for _ in range(20):
        gate.feed(tone(0.9, 100) + bytes(2 * 16 * 300), -40)
    assert not gate.open
    gate.feed(tone(0.9, 400), -40)
    gate.reset()
    assert not gate.open


async def taken(out: Outgoing) -> list[object]:
    found: list[object] = []
    out.end(1000)
    with pytest.raises(Closed):
        while True:
            message = await out.get()
            found.append(message if isinstance(message, bytes) else json.loads(message))
    return found


async def test_sound_is_taken_back_and_leaves_no_gap_in_the_numbers() -> None:
    out = Outgoing()
    for each in (Token(text="a"), SoundBegins(), Sentence(index=0, text="a", at_ms=0), b"12", Token(text="b"), b"34"):
        out.put(each)
    out.drop_sound()
    out.put(VoiceWarning(code="x", detail="y"))
    assert [(each["seq"], each["type"]) for each in await taken(out)] == [  # type: ignore[index]
        (1, "token"), (2, "token"), (3, "warning"),
    ]  # fmt: skip


async def test_a_client_that_does_not_read_is_let_go() -> None:
    out = Outgoing()
    for _ in range(MOST + 1):
        out.put(b"12")
    with pytest.raises(Closed) as closed:
        await asyncio.wait_for(out.get(), 5)
    assert closed.value.code == CLOSE_TOO_SLOW
