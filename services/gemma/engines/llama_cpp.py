"""GGUF models by llama-cpp-python, many answers at once from one context."""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from services.gemma.engines import Capabilities, Piece, Sampling, Turn
from services.gemma.engines.batching import Answer, Batcher, Counts
from services.gemma.engines.stops import Words
from services.gemma.engines.templates import template_for
from services.gemma.settings import Settings
from shared.errors import TooLarge

BATCH = 256
"""Most tokens of one step; between two steps answers come and go."""
SLOTS_PER_ANSWER = 4
"""Sequences of the context for each answer that is written at once: the others keep what conversations left."""
MOST_SLOTS = 64


class LlamaCpp:
    """Raises ValueError where the file cannot be loaded, MemoryError where its context does not fit."""

    def __init__(self, settings: Settings) -> None:
        from services.gemma.engines.llama_context import Context, Weights
        from services.gemma.engines.threads import settle

        path = settings.models_dir / settings.llm_model
        self._weights = Weights(path, settings.gpu_layers)
        length = min(settings.context_tokens, self._weights.trained_for)
        slots = min(SLOTS_PER_ANSWER * settings.parallel, MOST_SLOTS)
        try:
            self._context = Context(
                self._weights,
                cells=max(settings.cache_tokens or length * settings.parallel, length),
                sequences=slots,
                batch=BATCH,
                threads=settings.threads or 1,
                threads_batch=settings.threads_batch or 1,
            )
        except MemoryError:
            self._weights.close()
            raise
        self.threads = settle(self._context, path, settings.data_dir, settings.threads, settings.threads_batch)
        self._template = template_for(settings.template, settings.llm_model)
        self._stop = self._stop_tokens()
        self._batcher = Batcher(self._context, self._weights, parallel=settings.parallel, slots=slots)
        self.capabilities = Capabilities(path.stem, length)

    @property
    def counts(self) -> Counts:
        """What was read, reused and written so far."""
        return self._batcher.counts

    @staticmethod
    def missing(settings: Settings) -> str | None:
        importlib.invalidate_caches()
        if importlib.util.find_spec("llama_cpp") is None:
            return f"The language model is not ready: {_build_state(settings.data_dir / 'llama-build.json')}"
        if not (settings.models_dir / settings.llm_model).is_file():
            return f"The weights {settings.llm_model} of the language model are missing; run `nemo models pull`."
        return None

    def length(self, turns: Sequence[Turn]) -> int:
        return len(self._prompt(turns))

    def write(self, turns: Sequence[Turn], sampling: Sampling, so_far: str = "") -> Iterator[Piece]:
        from services.gemma.engines.llama_sampling import Sampler

        written = self._weights.tokenize(so_far, special=False) if so_far else []
        prompt = self._prompt(turns) + written
        room = self.capabilities.context_tokens - len(prompt)
        if room < 1:
            raise TooLarge(f"{len(prompt)} tokens do not fit in the {self.capabilities.context_tokens} of the model.")
        sampler = Sampler(self._weights, sampling)
        sampler.accept(written)
        answer = Answer(prompt, sampler, Words(sampling.stop), min(sampling.max_tokens, room), self._stop)
        return self._batcher.write(answer)

    def _prompt(self, turns: Sequence[Turn]) -> list[int]:
        parts = self._template.parts(turns)
        return [token for part in parts for token in self._weights.tokenize(part.text, special=part.ours)]

    def _stop_tokens(self) -> frozenset[int]:
        named = [self._weights.tokenize(word, special=True) for word in self._template.stop]
        return frozenset(tokens[0] for tokens in named if len(tokens) == 1)

    def close(self) -> None:
        self._batcher.close()
        self._context.close()
        self._weights.close()


def _build_state(path: Path) -> str:
    """How far the build of the package is, as `nemo up` wrote it down."""
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        word, percent = str(state["state"]), float(state.get("percent") or 0)
    except (OSError, ValueError, KeyError, TypeError):
        return "its runtime is not installed; `nemo up` builds it."
    if word == "failed":
        return f"building its runtime failed ({state.get('detail')}); see `nemo doctor`."
    if word == "ready":
        return "its runtime is built and being picked up."
    return f"its runtime is still being built, {percent:.0f} % done."
