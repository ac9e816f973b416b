"""How a text is cut, and what of it is left out."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.tts.sentences import _END, LONGEST_CHARS, cut


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ("It costs 3.14 at 10:30, see nemo.example.", ["It costs 3.14 at 10:30, see nemo.example."]),
        ("Mr. Smith met J. R. Doe, i.e. nobody. He left.", ["Mr. Smith met J. R. Doe, i.e. nobody.", "He left."]),
        ('He said "stop." Then he went.', ['He said "stop."', "Then he went."]),
        ("Wait... what?!", ["Wait...", "what?!"]),
        ("A heading\n\nA line\nthat goes on.", ["A heading", "A line that goes on."]),
        ("今日は。元気?", ["今日は。", "元気?"]),
        ("Hello 👋🏽 you 👨‍👩‍👧!", ["Hello you !"]),
        ("Nul\x00 and \x1b[31mred\u202e and \ttab.", ["Nul and 31mred and tab."]),
        ("It is 20°C in the [[kitchen]].", ["It is 20°C in the kitchen ."]),
        ("👋 🎉", []),
        ("... !!! ---", []),
        (" \n\t ", []),
        ("", []),
    ],
)
def test_sentences(text: str, sentences: list[str]) -> None:
    assert cut(text) == sentences


def test_a_long_sentence_is_cut_after_its_clauses_or_words() -> None:
    clause = "and then we went on along the river as far as the old mill, "
    found = cut(clause * 20)
    assert max(map(len, found)) <= LONGEST_CHARS and all(each.endswith("mill,") for each in found)
    assert cut("word " * 200) == [("word " * 44).strip()] * 4 + [("word " * 24).strip()]
    assert [len(each) for each in cut("x" * 500)] == [LONGEST_CHARS, LONGEST_CHARS, 60]


@given(st.text(max_size=600))
def test_nothing_spoken_is_lost_and_nothing_harmful_stays(text: str) -> None:
    found = cut(text)
    for each in found:
        assert 0 < len(each) <= LONGEST_CHARS and not set("[]\n\r\x00") & set(each)
        assert each.encode().decode() == each
    letters = [character for character in text if character.isalpha() and character.isascii()]
    assert [character for character in "".join(found) if character.isalpha() and character.isascii()] == letters


@pytest.mark.parametrize("hostile", ["!" * 4095 + "x", "A. " * 1365, '."' * 2048, ", " * 2048, "\u0301" * 4096])
def test_hostile_texts_end(hostile: str) -> None:
    assert sum(map(len, cut(hostile))) <= 4096


PLAIN_END = re.compile(r"[.!?…。！？]+[\"'”’)»]*(?=\s|$)|(?<=[。！？])|\n\s*\n")
"""The ends of sentences as they are meant; it takes a second for some texts."""


@given(st.text(".!。？\"') \nax", max_size=40))
def test_the_quick_ends_are_the_plain_ones(text: str) -> None:
    assert [each.span() for each in _END.finditer(text)] == [each.span() for each in PLAIN_END.finditer(text)]


def test_a_long_run_of_marks_costs_no_more_than_other_text() -> None:
    begun_s = time.process_time()
    assert not list(_END.finditer("." * 40_950 + "x"))  # the plain one takes over a minute
    assert time.process_time() - begun_s < 20
