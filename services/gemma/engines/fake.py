"""A model that obeys: it tells everything it was given, so that tests see what an injection could have reached."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from services.gemma.engines import Capabilities, Piece, Sampling, Turn


class FakeLanguage:
    """Never a default."""

    def __init__(self, settings: Any) -> None:
        warnings.warn("FakeLanguage only tells what it was told; it is for tests only", stacklevel=2)
        self.capabilities = Capabilities("fake", 100_000)

    @staticmethod
    def missing(settings: Any) -> str | None:
        return None

    def length(self, turns: Sequence[Turn]) -> int:
        return sum(len(turn.content.split()) for turn in turns)

    def write(self, turns: Sequence[Turn], sampling: Sampling, so_far: str = "") -> Iterator[Piece]:
        told = " ".join(turn.content for turn in turns).split()
        words = _until(sampling.stop, ["Told:", *told])[len(so_far.split()) :]
        finish = "stop" if len(words) <= sampling.max_tokens else "length"
        for written, word in enumerate(words[: sampling.max_tokens], start=1):
            yield Piece(f"{word} ", written)
        yield Piece("", min(len(words), sampling.max_tokens), finish)

    def close(self) -> None:
        pass


def _until(stop: Sequence[str], words: Sequence[str]) -> list[str]:
    """The words before the first that holds one of them."""
    return list(itertools.takewhile(lambda word: not any(each in word for each in stop), words))
