"""How fast one text comes: what is measured of every text that the language model is asked for."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from services.gemma.engines import Piece
from shared.errors import ProductError
from shared.telemetry import here


class Pace:
    """Of one text, from asking for it."""

    def __init__(self) -> None:
        self._asked = time.perf_counter()
        self._first: float | None = None
        self._last = 0.0
        self._begun = self._written = 0
        self._outcome = "stopped"

    def heard(self, piece: Piece) -> None:
        self._last, self._written = time.perf_counter(), piece.written
        if piece.finish is not None:
            self._outcome = "finished"
        if self._first is None:
            self._first, self._begun = self._last, piece.written
            here().took("nemo_llm_first_token_seconds", self._first - self._asked)

    def failed(self) -> None:
        self._outcome = "failed"

    def note(self) -> None:
        figures = here()
        figures.count("nemo_llm_answers_total", outcome=self._outcome)
        figures.count("nemo_llm_tokens_total", self._written)
        if self._first is not None and self._last > self._first:
            figures.took("nemo_llm_tokens_per_second", (self._written - self._begun) / (self._last - self._first))


@contextmanager
def paced() -> Iterator[Pace]:
    """Noted at the end of the block, however it ends."""
    pace = Pace()
    try:
        yield pace
    except ProductError:
        pace.failed()
        raise
    finally:
        pace.note()
