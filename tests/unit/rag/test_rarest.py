"""Which words of a query are ranked by, where a vault is so large that ranking by all would take long."""

from __future__ import annotations

import pytest

from services.rag import search


def test_the_rarest_words_come_first_until_enough_passages_hold_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "RANKED", 100)
    assert search._rarest({"price": 60, "invoice": 3, "meeting": 50, "monday": 40}) == {
        "invoice": 3,
        "monday": 40,
        "meeting": 50,
    }
    assert search._rarest({"price": 500, "meeting": 700}) == {"price": 500}, "one at least"
    assert search._rarest({"unheard": 0, "price": 100}) == {"unheard": 0, "price": 100}
    assert search._rarest({}) == {}
