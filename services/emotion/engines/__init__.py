"""Text to seven emotions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from shared.schemas.emotion import EmotionScore

BUILTIN = {
    "onnx_minilm": "services.emotion.engines.onnx_minilm:OnnxMiniLM",
    "transformers_roberta": "services.emotion.engines.transformers_roberta:TransformersRoberta",
    "fake": "services.emotion.engines.fake:FakeEmotion",
}


@dataclass(frozen=True)
class Capabilities:
    """What an emotion engine is."""

    model: str
    languages: frozenset[str]


class EmotionEngine(Protocol):
    """Blocking. One list per text: all seven labels, highest first, summing to 1."""

    capabilities: Capabilities

    def __init__(self, settings: Any) -> None: ...

    def analyze(self, texts: Sequence[str]) -> list[list[EmotionScore]]: ...


def distribution(labels: Sequence[str], shares: Sequence[float]) -> list[EmotionScore]:
    """Sorted scores that sum to 1 exactly to four digits: rounding's rest goes to the first."""
    total = sum(shares)
    ranked = sorted(zip(labels, shares, strict=True), key=lambda pair: -pair[1])
    scores = [round(share / total, 4) for _, share in ranked]
    scores[0] = round(scores[0] + 1 - sum(scores), 4)
    return [EmotionScore(label=label, score=score) for (label, _), score in zip(ranked, scores, strict=True)]  # type: ignore[arg-type]
