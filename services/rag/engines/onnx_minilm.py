"""all-MiniLM-L6-v2 on onnxruntime: float32, since int8 loses an eighth of the top ten.

Each run is one thread's, and as many run at once as there are threads: texts need no waiting for each other, the halves
of a matrix do. A run is small enough for its activations to stay in the cache, and its texts are of like length, so
little is padding: the turns of a conversation take two thirds of the processor time that batches of 32 on two threads
took.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from services.rag.engines import Capabilities, Vectors
from services.rag.settings import Settings
from shared.errors import ModelNotReady

MAX_TOKENS = 256
MARKS = 2
"""[CLS] and [SEP]."""
RUN_TOKENS = 256
"""Most tokens of one run, padding and all."""


class OnnxMiniLM:
    """Needs `model.onnx` (made by `nemo models pull`) and `tokenizer.json` in the model's folder."""

    def __init__(self, settings: Settings) -> None:
        folder = settings.models_dir / settings.embedding_model
        if not (folder / "model.onnx").is_file():
            raise ModelNotReady(f"{folder / 'model.onnx'} is missing; run `nemo models pull`.")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self._pool = ThreadPoolExecutor(settings.threads or os.cpu_count(), thread_name_prefix="minilm")
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()  # the file pads everything to 128
        self._tokenizer.enable_truncation(MAX_TOKENS)
        dimensions = self._session.get_outputs()[0].shape[1]
        self.capabilities = Capabilities(dimensions, MAX_TOKENS, settings.embedding_model)

    def embed(self, texts: Sequence[str]) -> Vectors:
        tokens = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]
        found = np.zeros((len(tokens), self.capabilities.dimensions), dtype=np.float32)
        runs = list(_runs([len(each) for each in tokens]))
        # One run, a question's, stays in this thread; the longest begin first, so that the threads end together.
        do = map if len(runs) == 1 else self._pool.map
        for some, vectors in zip(runs, do(lambda run: self._run([tokens[at] for at in run]), runs), strict=True):
            found[some] = vectors
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


def _runs(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Positions of the texts of each run, the longest texts first. `lengths`: tokens of each text."""
    run: list[int] = []
    for at in sorted(range(len(lengths)), key=lambda at: -lengths[at]):
        if run and (len(run) + 1) * lengths[run[0]] > RUN_TOKENS:
            yield run
            run = []
        run.append(at)
    if run:
        yield run
