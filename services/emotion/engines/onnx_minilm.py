"""MiniLM fine-tuned on GoEmotions, int8 (`models/emotion/card.md`)."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from services.emotion.engines import Capabilities, distribution
from services.emotion.settings import Settings
from shared.errors import ModelNotReady
from shared.schemas.emotion import EmotionScore

BATCH = 32


class OnnxMiniLM:
    """A softmax at the fitted temperature turns the logits of seven yes-or-no questions into one distribution."""

    def __init__(self, settings: Settings) -> None:
        folder = settings.models_dir / settings.emotion_model
        if not (folder / "model.onnx").is_file():
            raise ModelNotReady(f"{folder / 'model.onnx'} is missing; it is part of the repository.")
        facts = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        self._labels, self._temperature = facts["labels"], float(facts["temperature"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = settings.threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(facts["max_tokens"])
        self.capabilities = Capabilities("minilm-goemotions-int8", frozenset({"en"}))

    def analyze(self, texts: Sequence[str]) -> list[list[EmotionScore]]:
        tokens = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]
        order = sorted(range(len(tokens)), key=lambda at: len(tokens[at]))
        logits = np.zeros((len(tokens), len(self._labels)), dtype=np.float64)
        for at in range(0, len(order), BATCH):
            some = order[at : at + BATCH]
            logits[some] = self._run([tokens[each] for each in some])
        scaled = np.exp((logits - logits.max(axis=1, keepdims=True)) / self._temperature)
        return [distribution(self._labels, row.tolist()) for row in scaled]

    def _run(self, tokens: list[list[int]]) -> np.ndarray:
        width = max(map(len, tokens))
        ids = np.zeros((len(tokens), width), dtype=np.int64)
        mask = np.zeros((len(tokens), width), dtype=np.int64)
        for row, each in enumerate(tokens):
            ids[row, : len(each)] = each
            mask[row, : len(each)] = 1
        found: np.ndarray = self._session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
        return found
