"""j-hartmann's DistilRoBERTa by transformers (extra `gpu`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from services.emotion.engines import Capabilities, distribution
from services.emotion.settings import Settings
from shared.errors import ModelNotReady
from shared.schemas.emotion import LABELS, EmotionScore

MAX_TOKENS = 512
BATCH = 16


class TransformersRoberta:
    """Reads `EMOTION_MODEL` below MODELS_DIR: configuration, tokenizer and safetensors; nothing is fetched.

    Of a text longer than 512 tokens the beginning is read.
    """

    def __init__(self, settings: Settings) -> None:
        """Raises ModelNotReady where the folder is missing, is another model or has only pickled weights."""
        folder = _complete((settings.models_dir / settings.emotion_model).resolve())
        from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

        # A path that is no folder would be taken for a name on a hub: hence the check above, and `local_files_only`.
        model: Any = AutoModelForSequenceClassification.from_pretrained(
            folder, local_files_only=True, use_safetensors=True
        )
        _require_our_labels(folder, model.config.id2label.values())
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._pipeline: Any = pipeline("text-classification", model=model, tokenizer=tokenizer, device=settings.device)
        self.capabilities = Capabilities(settings.emotion_model, frozenset({"en"}))

    def analyze(self, texts: Sequence[str]) -> list[list[EmotionScore]]:
        if not texts:  # of which the pipeline would ask for the first
            return []
        # `return_all_scores=True` silently gives the top label only in transformers 5; `top_k=None` gives all.
        rows = self._pipeline(list(texts), top_k=None, truncation=True, max_length=MAX_TOKENS, batch_size=BATCH)
        return [distribution([each["label"] for each in row], [each["score"] for each in row]) for row in rows]


def _complete(folder: Path) -> Path:
    if not (folder / "model.safetensors").is_file():
        raise ModelNotReady(f"{folder} holds no model.safetensors; set EMOTION_MODEL to the folder of the weights.")
    return folder


def _require_our_labels(folder: Path, labels: Any) -> None:
    if set(labels) != set(LABELS):
        raise ModelNotReady(f"{folder} answers {sorted(labels)}; this service needs {sorted(LABELS)}.")
