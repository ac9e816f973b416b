"""How the next token of one answer is chosen: a chain of llama.cpp's samplers, closed and bounded, and a grammar.

A grammar is asked about the chosen token first and only where it objects about others, as llama.cpp's own programs do:
to check a vocabulary of 50,000 and more at every token costs more than the model.
"""

from __future__ import annotations

import ctypes
import secrets
from collections.abc import Sequence
from typing import Any

import llama_cpp
import numpy as np
from numpy.typing import NDArray

from services.gemma.engines import Sampling
from services.gemma.engines.grammar import grammar_of
from services.gemma.engines.llama_context import Context, Weights
from shared.errors import Invalid
from shared.schemas.problem import FieldError

WINDOW = 64
"""Last tokens of the answer whose repetition is penalised, as in llama-cpp-python."""
LIKELY = 256
"""Tokens that a grammar is asked about before the whole vocabulary is."""
MOST_STOPS, MOST_STOP_CHARS = 16, 200
BOUNDS: dict[str, tuple[float, float]] = {
    "max_tokens": (1, 1_000_000),
    "temperature": (0.0, 2.0),
    "top_p": (0.0, 1.0),
    "min_p": (0.0, 1.0),
    "top_k": (0, 1000),
    "repeat_penalty": (0.5, 2.0),
    "presence_penalty": (-2.0, 2.0),
    "frequency_penalty": (-2.0, 2.0),
    "seed": (0, 2**64 - 1),
}
"""Smallest and greatest value; top_k 0: no such bound."""
_DATA = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])


def check(sampling: Sampling) -> None:
    """Raises Invalid, with a pointer to each value that is out of bounds."""
    wrong = [
        FieldError(pointer=f"/{name}", detail=f"must be between {least} and {most}")
        for name, (least, most) in BOUNDS.items()
        if (value := getattr(sampling, name)) is not None and not least <= value <= most
    ]
    if len(sampling.stop) > MOST_STOPS or not all(0 < len(stop) <= MOST_STOP_CHARS for stop in sampling.stop):
        detail = f"at most {MOST_STOPS} texts of 1 to {MOST_STOP_CHARS} characters"
        wrong.append(FieldError(pointer="/stop", detail=detail))
    if wrong:
        told = "; ".join(f"{each.pointer} {each.detail}" for each in wrong)
        raise Invalid(f"The sampling is out of bounds: {told}.", errors=wrong)


class Sampler:
    """Of one answer. Used by the thread that decodes; freed by `close`."""

    def __init__(self, weights: Weights, sampling: Sampling) -> None:
        """Raises Invalid for a sampling out of bounds and for a schema that cannot be followed."""
        check(sampling)
        self._weights = weights
        self._grammar: Any = _grammar(weights, sampling.schema) if sampling.schema is not None else None
        self._chain: Any = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
        for each in _samplers(weights, sampling):
            llama_cpp.llama_sampler_chain_add(self._chain, each)
        self._one = (llama_cpp.llama_token_data * 1)()

    def next(self, context: Context, row: int) -> int:
        """The token after the one of this row of the batch."""
        if self._grammar is None:
            return int(llama_cpp.llama_sampler_sample(self._chain, context.pointer, row))
        token = self._followed(context.logits(row))
        self.accept([token])
        return token

    def accept(self, tokens: Sequence[int]) -> None:
        """These stand in the answer already."""
        for token in tokens:
            llama_cpp.llama_sampler_accept(self._chain, token)
            if self._grammar is not None:
                llama_cpp.llama_sampler_accept(self._grammar, token)

    def follows(self, token: int) -> bool:
        """The grammar has nothing against it."""
        self._one[0].id, self._one[0].logit = token, 0.0
        array = llama_cpp.llama_token_data_array(self._one, 1, -1, False)
        llama_cpp.llama_sampler_apply(self._grammar, ctypes.byref(array))
        return bool(self._one[0].logit == 0.0)

    def _followed(self, logits: NDArray[np.float32]) -> int:
        data = np.zeros(len(logits), dtype=_DATA)
        data["id"], data["logit"] = np.arange(len(logits), dtype=np.int32), logits
        data["logit"][self._weights.marks] = -np.inf  # as text they would pass for words of a string
        token = self._pick(data.copy())
        if self.follows(token):
            return token
        likely = np.argpartition(data["logit"], -LIKELY)[-LIKELY:] if len(data) > LIKELY else slice(None)
        for candidates in (data[likely].copy(), data):
            self._apply(self._grammar, candidates)
            allowed = candidates[candidates["logit"] > -np.inf]
            if len(allowed):
                return self._pick(allowed)
        raise RuntimeError("the grammar allows no token")

    def _pick(self, data: NDArray[Any]) -> int:
        array = self._apply(self._chain, data)
        return int(array.data[array.selected].id)

    @staticmethod
    def _apply(sampler: Any, data: NDArray[Any]) -> Any:
        pointer = data.ctypes.data_as(ctypes.POINTER(llama_cpp.llama_token_data))
        array = llama_cpp.llama_token_data_array(pointer, len(data), -1, False)
        llama_cpp.llama_sampler_apply(sampler, ctypes.byref(array))
        return array

    def close(self) -> None:
        llama_cpp.llama_sampler_free(self._chain)
        if self._grammar is not None:
            llama_cpp.llama_sampler_free(self._grammar)


def _samplers(weights: Weights, sampling: Sampling) -> list[Any]:
    """In the order of llama-cpp-python."""
    made = []
    if sampling.repeat_penalty != 1.0 or sampling.frequency_penalty or sampling.presence_penalty:
        made.append(
            llama_cpp.llama_sampler_init_penalties(
                weights.tokens, WINDOW, sampling.repeat_penalty, sampling.frequency_penalty, sampling.presence_penalty
            )
        )
    if sampling.temperature == 0.0:
        return [*made, llama_cpp.llama_sampler_init_greedy()]
    seed = secrets.randbits(32) if sampling.seed is None else sampling.seed % 2**32
    return [
        *made,
        llama_cpp.llama_sampler_init_top_k(sampling.top_k),
        llama_cpp.llama_sampler_init_top_p(sampling.top_p, 1),
        llama_cpp.llama_sampler_init_min_p(sampling.min_p, 1),
        llama_cpp.llama_sampler_init_temp(sampling.temperature),
        llama_cpp.llama_sampler_init_dist(seed),
    ]


def _grammar(weights: Weights, schema: str) -> Any:
    made = llama_cpp.llama_sampler_init_grammar(weights.vocab, grammar_of(schema).encode(), b"root")
    if not made:
        detail = "The schema cannot be followed: it refers to itself without end."
        raise Invalid(detail, errors=[FieldError(pointer="/schema", detail=detail)])
    return made
