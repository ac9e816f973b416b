"""GGUF models by llama-cpp-python.

One object is kept, so a prompt that begins as the last one did is evaluated only from where it differs. Its class is
not thread-safe: one thread uses it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from services.gemma.engines import Capabilities, Sampling, Turn
from services.gemma.engines.templates import template_for
from services.gemma.settings import Settings
from shared.errors import ModelNotReady


class LlamaCpp:
    """Raises ModelNotReady while the package or the weights are missing."""

    def __init__(self, settings: Settings) -> None:
        path = settings.models_dir / settings.llm_model
        if not path.is_file():
            raise ModelNotReady(f"The weights {settings.llm_model} are missing; run `nemo models pull`.")
        try:
            from llama_cpp import Llama
        except ImportError as error:
            raise ModelNotReady("The language runtime is not installed yet.") from error
        self._llama: Any = Llama(
            model_path=str(path),
            n_ctx=settings.context_tokens,
            n_batch=256,
            n_threads=settings.threads,
            n_threads_batch=settings.threads_batch,
            n_gpu_layers=settings.gpu_layers,
            verbose=False,
        )
        self._template, self._stop = template_for(settings.template, settings.llm_model)
        self.capabilities = Capabilities(path.stem, settings.context_tokens)

    def count(self, text: str) -> int:
        return len(self._llama.tokenize(text.encode("utf-8"), add_bos=False, special=False))

    def write(self, turns: Sequence[Turn], sampling: Sampling) -> Iterator[str]:
        prompt = self._llama.tokenize(self._template(turns).encode("utf-8"), add_bos=False, special=True)
        room = self.capabilities.context_tokens - len(prompt) - 1
        if room < 1:
            raise ModelNotReady("The question and its memories are longer than the model's context.")
        for piece in self._llama.create_completion(
            prompt,
            max_tokens=min(sampling.max_tokens, room),
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            repeat_penalty=sampling.repeat_penalty,
            stop=self._stop,
            stream=True,
        ):
            text = piece["choices"][0]["text"]
            if text:
                yield text
