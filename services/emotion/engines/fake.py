"""Emotions from the letters of a text: repeatable and without meaning."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from typing import Any

from services.emotion.engines import Capabilities, distribution
from shared.schemas.emotion import LABELS, EmotionScore


class FakeEmotion:
    """Never a default."""

    def __init__(self, settings: Any) -> None:
        warnings.warn("FakeEmotion invents its scores; it is for tests only", stacklevel=2)
        self.capabilities = Capabilities("fake", frozenset({"en"}))

    def analyze(self, texts: Sequence[str]) -> list[list[EmotionScore]]:
        return [distribution(LABELS, [1 + byte for byte in hashlib.sha256(t.encode()).digest()[:7]]) for t in texts]
