"""GGUF models by llama-cpp-python.

One object is kept, so a prompt that begins as the last one did is read only from where it differs. It is not
thread-safe: one thread uses it. `OMP_WAIT_POLICY=passive` must stand in the environment before the import, which is
the launcher's part: threads that spin make it ten times slower on shared cores.
"""

from __future__ import annotations

import codecs
import importlib
import importlib.util
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from services.gemma.engines import Capabilities, Piece, Sampling, Turn
from services.gemma.engines.templates import template_for
from services.gemma.settings import Settings
from shared.errors import TooLarge

BATCH = 256
"""Tokens of the prompt read at once; between two batches the work can be stopped."""


class LlamaCpp:
    """Raises whatever the package raises where the file cannot be loaded."""

    def __init__(self, settings: Settings) -> None:
        from llama_cpp import Llama

        path = settings.models_dir / settings.llm_model
        self._llama: Any = Llama(
            model_path=str(path),
            n_ctx=settings.context_tokens,
            n_batch=BATCH,
            n_threads=settings.threads,
            n_threads_batch=settings.threads_batch,
            n_gpu_layers=settings.gpu_layers,
            logits_all=False,  # of every token they would take context times vocabulary
            verbose=False,
        )
        self._template = template_for(settings.template, settings.llm_model)
        self._stop = self._stop_tokens()
        self.capabilities = Capabilities(path.stem, self._llama.n_ctx())

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
        prompt = self._prompt(turns) + (self._tokens(so_far, False) if so_far else [])
        room = self.capabilities.context_tokens - len(prompt)
        if room < 1:
            raise TooLarge(f"{len(prompt)} tokens do not fit in the {self.capabilities.context_tokens} of the model.")
        try:
            yield from self._read(prompt)
            yield from self._written(prompt, sampling, min(sampling.max_tokens, room))
        except RuntimeError:
            self._llama.reset()  # what was read is in doubt
            raise

    def _read(self, prompt: list[int]) -> Iterator[Piece]:
        """The prompt but its last batch, batch by batch; each ends with a sample that nobody wants."""
        known = self._llama.input_ids[: self._llama.n_tokens].tolist()
        same = next((at for at, (a, b) in enumerate(zip(known, prompt, strict=False)) if a != b), len(known))
        for end in range(min(same, len(prompt)) + BATCH, len(prompt), BATCH):
            next(self._llama.generate(prompt[:end], temp=0.0))
            yield Piece("", 0)

    def _written(self, prompt: list[int], sampling: Sampling, most: int) -> Iterator[Piece]:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        tokens = self._llama.generate(
            prompt, temp=sampling.temperature, top_p=sampling.top_p, repeat_penalty=sampling.repeat_penalty
        )
        written = 0
        for token in tokens:
            if token in self._stop:
                break
            written += 1
            yield Piece(decoder.decode(self._llama.detokenize([token])), written)
            if written >= most:
                break
        if rest := decoder.decode(b"", final=True):
            yield Piece(rest, written)

    def _prompt(self, turns: Sequence[Turn]) -> list[int]:
        return [token for part in self._template.parts(turns) for token in self._tokens(part.text, part.ours)]

    def _tokens(self, text: str, special: bool) -> list[int]:
        found: list[int] = self._llama.tokenize(text.encode("utf-8"), add_bos=False, special=special)
        return found

    def _stop_tokens(self) -> frozenset[int]:
        named = [self._tokens(word, True) for word in self._template.stop]
        return frozenset({self._llama.token_eos()} | {tokens[0] for tokens in named if len(tokens) == 1})

    def close(self) -> None:
        self._llama.close()


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
