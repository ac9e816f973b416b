"""j-hartmann's DistilRoBERTa by transformers (extra `gpu`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from services.emotion.engines import Capabilities, distribution
from services.emotion.settings import Settings
from shared.schemas.emotion import EmotionScore


class TransformersRoberta:
    """Loads from the folder below MODELS_DIR; nothing is fetched."""

    def __init__(self, settings: Settings) -> None:
        from transformers import pipeline

        folder = str(settings.models_dir / settings.emotion_model)
        # `return_all_scores=True` silently gives the top label only in transformers 5; `top_k=None` gives all.
        self._pipeline: Any = pipeline("text-classification", model=folder, top_k=None, truncation=True)
        self.capabilities = Capabilities(settings.emotion_model, frozenset({"en"}))

    def analyze(self, texts: Sequence[str]) -> list[list[EmotionScore]]:
        return [
            distribution([each["label"] for each in row], [each["score"] for each in row])
            for row in self._pipeline(list(texts))
        ]
