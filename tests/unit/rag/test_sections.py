"""Passages of documents stand where they say."""

from __future__ import annotations

import random

from services.rag.sections import LEAST_CHARS, Mark, cut


def test_a_passage_is_the_text_at_its_place_whatever_the_text() -> None:
    chance = random.Random(7)
    for _ in range(200):
        text = "".join(chance.choice(["word ", "end. ", "\n", "  ", "x" * 50, "? "]) for _ in range(300))
        marks = sorted((Mark(chance.randrange(len(text)), n) for n in range(5)), key=lambda mark: mark.offset)
        pieces = cut(text, marks, 120)
        covered = set()
        for piece in pieces:
            assert text[piece.start : piece.end] == piece.text == piece.text.strip() and 0 < len(piece.text) <= 120
            covered |= set(range(piece.start, piece.end))
        assert all(text[at].isspace() for at in set(range(len(text))) - covered), "nothing is lost"


def test_a_passage_never_spans_two_pages() -> None:
    text = "One. Two. Three. Four. "
    pieces = cut(text, [Mark(0, 1), Mark(10, 2)], 700)
    assert [(piece.text, piece.page) for piece in pieces] == [("One. Two.", 1), ("Three. Four.", 2)]


def test_passages_overlap_by_a_sentence() -> None:
    pieces = cut("Aaaaa aaaa. Bbbbb bbbb. Ccccc cccc. Ddddd dddd.", [], 24)
    assert [piece.text for piece in pieces] == [
        "Aaaaa aaaa. Bbbbb bbbb.",
        "Bbbbb bbbb. Ccccc cccc.",
        "Ccccc cccc. Ddddd dddd.",
    ]


def test_headings_part_what_is_long_enough_and_join_what_is_not() -> None:
    long = "A sentence of some length. " * 20
    pieces = cut(f"{long}{long}", [Mark(0, None, "First"), Mark(len(long), None, "Second")], 10_000)
    assert [piece.heading for piece in pieces] == ["First", "Second"]
    many = "".join(f"# {n}\n" for n in range(10_000))
    marks = [Mark(at, None, "x") for at, c in enumerate(many) if c == "#"]
    assert len(cut(many, marks, 700)) <= len(many) / LEAST_CHARS + 1


def test_an_empty_document_has_no_passage() -> None:
    assert cut("", [], 700) == cut(" \n ", [Mark(0, 1), Mark(1, 2)], 700) == []
