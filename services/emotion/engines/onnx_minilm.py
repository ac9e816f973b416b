"""MiniLM fine-tuned on GoEmotions, int8 (`models/emotion/card.md`)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer

from services.emotion.engines import Capabilities, distribution
from services.emotion.settings import Settings
from shared.errors import ModelNotReady
from shared.schemas.emotion import EmotionScore

FILES = ("model.onnx", "model.json", "tokenizer.json")
WINDOWS = 16
"""Most windows of one text that are read; of a longer text they are spread evenly."""

Logits = NDArray[np.float32]


class OnnxMiniLM:
    """A softmax at the fitted temperature turns the logits of seven yes-or-no questions into one distribution.

    A text longer than the model's window is read window by window; the answer is the mean, weighted by their tokens.
    """

    def __init__(self, settings: Settings) -> None:
        """Raises ModelNotReady where a file of the model is missing."""
        folder = _complete(settings.models_dir / settings.emotion_model)
        facts = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        self._labels, self._temperature = facts["labels"], float(facts["temperature"])
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(facts["max_tokens"])
        self._session = _session(folder / "model.onnx", settings.threads)
        self.capabilities = Capabilities("minilm-goemotions-int8", frozenset({"en"}))

    def analyze(self, texts: Sequence[str]) -> list[list[EmotionScore]]:
        return [distribution(self._labels, self._shares(text)) for text in texts]

    def _shares(self, text: str) -> list[float]:
        windows = self._windows(text)
        shares = np.stack([self._softmax(self._run(each)) for each in windows])
        mean: list[float] = np.average(shares, axis=0, weights=[len(each) for each in windows]).tolist()
        return mean

    def _windows(self, text: str) -> list[list[int]]:
        whole = self._tokenizer.encode(text)
        windows = [whole.ids, *(each.ids for each in whole.overflowing)]
        if len(windows) <= WINDOWS:
            return windows
        return [windows[at] for at in np.linspace(0, len(windows) - 1, WINDOWS).round().astype(int)]

    def _run(self, ids: list[int]) -> Logits:
        """Logits [7] of one window, alone: int8 activations share one scale per run, so a batch would mix its texts."""
        feeds = {"input_ids": np.array([ids]), "attention_mask": np.ones((1, len(ids)), dtype=np.int64)}
        logits: Logits = self._session.run(None, feeds)[0][0]
        return logits

    def _softmax(self, logits: Logits) -> NDArray[np.float64]:
        scaled = np.exp((logits - logits.max()).astype(np.float64) / self._temperature)
        shares: NDArray[np.float64] = scaled / scaled.sum()
        return shares


def _complete(folder: Path) -> Path:
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise ModelNotReady(f"{folder / missing[0]} is missing; it is part of the repository.")
    return folder


def _session(path: Path, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
