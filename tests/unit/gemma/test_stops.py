"""Text out of tokens: whole characters, and nothing from a stop string on."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.gemma.engines.stops import Words


def heard(words: Words, text: str, size: int) -> str:
    data = text.encode()
    said = ""
    for at in range(0, len(data), size):
        said += words.hear(data[at : at + size])
        if words.stopped:
            break
    return said + words.end()


@given(
    st.text(alphabet="abAB é😀\n", max_size=60), st.integers(1, 9), st.lists(st.text("abé😀", min_size=1, max_size=4))
)
def test_it_ends_where_the_first_stop_string_begins(text: str, size: int, stops: list[str]) -> None:
    """However the bytes are cut, it is what would be cut out of the whole text."""
    ends = [at for stop in stops if (at := text.find(stop)) >= 0]
    words = Words(stops)
    said = heard(words, text, size)
    assert words.stopped == bool(ends)
    # Of several stop strings the one that is whole first ends it, which need not be the one that begins first.
    assert said == text[: len(said)] and (not ends or len(said) in ends)
    assert bool(ends) or said == text


def test_half_a_stop_string_at_the_end_is_told() -> None:
    words = Words(["STOP"])
    assert words.hear(b"go ST") == "go " and words.end() == "ST"


def test_what_may_become_one_is_held_back() -> None:
    words = Words(["\n\n", "END"])
    assert [words.hear(each) for each in (b"a\n", b"b", b" E", b"N", b"x", b"\n", b"\nmore")] == [
        "a", "\nb", " ", "", "ENx", "", ""
    ]  # fmt: skip
    assert words.stopped and words.end() == ""


def test_half_a_character_is_told_at_the_end_as_what_it_is() -> None:
    words = Words()
    assert words.hear("é".encode()[:1]) == "" and words.end() == "\ufffd"
