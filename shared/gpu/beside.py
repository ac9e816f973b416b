"""Streams of a model that go beside one another.

A module of its own because the child runs as `__main__`: what is defined there is not what others import from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


class Beside:
    """What a call answers whose pieces come beside those of other calls: a thread of its own sends them.

    `close` of the model must end such a stream, and stopping it waits for the piece in hand.
    """

    def __init__(self, pieces: Iterator[Any]) -> None:
        self.pieces = pieces
