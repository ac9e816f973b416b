"""all-MiniLM-L6-v2 on onnxruntime: float32, since int8 loses an eighth of the top ten."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from services.rag.engines import Capabilities, Vectors
from services.rag.settings import Settings
from shared.errors import ModelNotReady

MAX_TOKENS = 256
BATCH = 32
MARKS = 2
"""[CLS] and [SEP]."""


class OnnxMiniLM:
    """Needs `model.onnx` (made by `nemo models pull`) and `tokenizer.json` in the model's folder."""

    def __init__(self, settings: Settings) -> None:
        folder = settings.models_dir / settings.embedding_model
        if not (folder / "model.onnx").is_file():
            raise ModelNotReady(f"{folder / 'model.onnx'} is missing; run `nemo models pull`.")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = settings.threads
        # Spinning threads steal the other services' cores between two calls.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()  # the file pads everything to 128
        self._tokenizer.enable_truncation(MAX_TOKENS)
        dimensions = self._session.get_outputs()[0].shape[1]
        self.capabilities = Capabilities(dimensions, MAX_TOKENS, settings.embedding_model)

    def embed(self, texts: Sequence[str]) -> Vectors:
        tokens = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]
        found = np.zeros((len(tokens), self.capabilities.dimensions), dtype=np.float32)
        order = sorted(range(len(tokens)), key=lambda at: len(tokens[at]))
        for at in range(0, len(order), BATCH):
            some = order[at : at + BATCH]
            found[some] = self._run([tokens[each] for each in some])
        return found

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """The tokenizer gives what it cuts off in pieces, each with the two marks that only the first one keeps."""
        found = self._tokenizer.encode_batch(list(texts))
        return [len(first.ids) + sum(len(rest.ids) - MARKS for rest in first.overflowing) for first in found]

    def _run(self, tokens: list[list[int]]) -> Vectors:
        width = max(map(len, tokens))
        ids = np.zeros((len(tokens), width), dtype=np.int64)
        mask = np.zeros((len(tokens), width), dtype=np.int64)
        for row, each in enumerate(tokens):
            ids[row, : len(each)] = each
            mask[row, : len(each)] = 1
        vectors: Vectors = self._session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
        return vectors
