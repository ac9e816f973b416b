"""Text to seven emotions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

from shared.schemas.emotion import EmotionScore, Label

BUILTIN = {
    "onnx_minilm": "services.emotion.engines.onnx_minilm:OnnxMiniLM",
    "transformers_roberta": "services.emotion.engines.transformers_roberta:TransformersRoberta",
    "fake": "services.emotion.engines.fake:FakeEmotion",
}
DIGITS = 10_000
"""Scores are whole numbers of ten-thousandths."""


@dataclass(frozen=True)
class Capabilities:
    """What an emotion engine is."""

    model: str
    languages: frozenset[str]


class EmotionEngine(Protocol):
    """Blocking. One list per text: all seven labels, highest first, summing to 1.

    What a text gets does not depend on the texts beside it, and a text may be empty or of any length.
    """

    capabilities: Capabilities

    def __init__(self, settings: Any) -> None: ...

    def analyze(self, texts: Sequence[str]) -> list[list[EmotionScore]]: ...


def distribution(labels: Sequence[str], shares: Sequence[float]) -> list[EmotionScore]:
    """Sorted scores of four digits that sum to 1: what rounding down leaves goes to the largest remainders."""
    total = sum(shares)
    exact = [share / total * DIGITS for share in shares]
    parts = [int(each) for each in exact]
    for at in sorted(range(len(parts)), key=lambda at: parts[at] - exact[at])[: DIGITS - sum(parts)]:
        parts[at] += 1
    ranked = sorted(zip(cast("Sequence[Label]", labels), parts, strict=True), key=lambda pair: -pair[1])
    return [EmotionScore(label=label, score=part / DIGITS) for label, part in ranked]
