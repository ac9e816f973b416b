"""A model that obeys: it repeats what it was given, so that tests see what an injection could have reached."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from services.gemma.engines import Capabilities, Sampling, Turn


class FakeLanguage:
    """Never a default."""

    def __init__(self, settings: Any) -> None:
        warnings.warn("FakeLanguage only repeats its prompt; it is for tests only", stacklevel=2)
        self.capabilities = Capabilities("fake", 100_000)

    def count(self, text: str) -> int:
        return len(text.split())

    def write(self, turns: Sequence[Turn], sampling: Sampling) -> Iterator[str]:
        for word in turns[-1].content.split()[: sampling.max_tokens]:
            yield f"{word} "
