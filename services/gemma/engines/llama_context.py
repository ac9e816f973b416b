"""llama.cpp's model and context with many sequences, by the low-level functions of llama-cpp-python.

`OMP_WAIT_POLICY=passive` must stand in the environment before the import, which is the launcher's part: threads that
spin make it ten times slower on shared cores. One thread decodes; tokens may be made by any.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
from llama_cpp._logger import set_verbose
from numpy.typing import NDArray

NO_CELLS = 1
"""What `llama_decode` says where the cells are all taken."""
MOST_PIECE_BYTES = 64
ASIDE_BYTES = 256 * 2**20
"""Most memory for sequences that are put aside; those that find no room in it stay in the cells."""


class Weights:
    """One GGUF file and its vocabulary. Raises ValueError where it cannot be loaded."""

    def __init__(self, path: Path, gpu_layers: int) -> None:
        set_verbose(False)
        llama_cpp.llama_backend_init()
        options = llama_cpp.llama_model_default_params()
        options.n_gpu_layers = 0x7FFFFFFF if gpu_layers < 0 else gpu_layers
        self.pointer: Any = llama_cpp.llama_model_load_from_file(str(path).encode(), options)
        if not self.pointer:
            raise ValueError("the file of the weights cannot be loaded")
        self.vocab: Any = llama_cpp.llama_model_get_vocab(self.pointer)
        self.tokens = int(llama_cpp.llama_vocab_n_tokens(self.vocab))
        self.trained_for = int(llama_cpp.llama_model_n_ctx_train(self.pointer))
        self._buffer = ctypes.create_string_buffer(MOST_PIECE_BYTES)

    @property
    def shares(self) -> bool:
        """The beginning of a sequence can be taken over; models with a recurrent state have no beginning."""
        return not (llama_cpp.llama_model_is_recurrent(self.pointer) or llama_cpp.llama_model_is_hybrid(self.pointer))

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        """`special`: the marks of the template count as tokens."""
        data = text.encode("utf-8", "replace")
        most = len(data) + 8
        tokens = (llama_cpp.llama_token * most)()
        count = llama_cpp.llama_tokenize(self.vocab, data, len(data), tokens, most, False, special)
        if count < 0:
            raise ValueError("a text could not be made into tokens")
        return list(tokens[:count])

    def bytes_of(self, token: int) -> bytes:
        """Not for several threads: one buffer."""
        size = llama_cpp.llama_token_to_piece(self.vocab, token, self._buffer, len(self._buffer), 0, False)
        if size < 0:
            self._buffer = ctypes.create_string_buffer(-size)
            size = llama_cpp.llama_token_to_piece(self.vocab, token, self._buffer, len(self._buffer), 0, False)
        return self._buffer.raw[:size]

    def ends(self, token: int) -> bool:
        return bool(llama_cpp.llama_vocab_is_eog(self.vocab, token))

    @cached_property
    def marks(self) -> NDArray[np.int32]:
        """Tokens that are marks of a template and do not end an answer."""
        found = [
            token
            for token in range(self.tokens)
            if llama_cpp.llama_vocab_is_control(self.vocab, token) and not self.ends(token)
        ]
        return np.array(found, dtype=np.int32)

    def close(self) -> None:
        llama_cpp.llama_model_free(self.pointer)


class Context:
    """Cells for tokens, shared by all sequences, and one batch that is filled again and again."""

    def __init__(
        self, weights: Weights, *, cells: int, sequences: int, batch: int, threads: int, threads_batch: int
    ) -> None:
        """`batch`: most tokens of one step. Raises MemoryError where the cells do not fit."""
        options = llama_cpp.llama_context_default_params()
        options.n_ctx, options.n_seq_max = cells, sequences
        options.n_batch = options.n_ubatch = batch
        options.n_threads, options.n_threads_batch = threads, threads_batch
        # One buffer for all: sequences with a common beginning share its cells, and one may take as many as it needs.
        options.kv_unified = True
        # Without it every step computes over the cells of all, also of those that only wait. Measured on two cores by
        # processor time a token: eight at once 125 ms with it and 141 without at 100 tokens each, 124 and 193 at 330;
        # one alone pays for it, 22.6 ms and 16.2 at 1,000.
        options.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_AUTO
        self.weights, self.cells, self.batch = weights, cells, batch
        self.pointer: Any = llama_cpp.llama_init_from_model(weights.pointer, options)
        if not self.pointer:
            raise MemoryError("out of memory: the context does not fit")
        self._memory = llama_cpp.llama_get_memory(self.pointer)
        self._aside: dict[int, NDArray[np.uint8]] = {}
        self._fill(batch)

    def _fill(self, size: int) -> None:
        """The batch as arrays of ours, which are filled by slices and not token by token."""
        self._tokens, self._at = np.zeros(size, np.int32), np.zeros(size, np.int32)
        self._ones, self._wanted = np.ones(size, np.int32), np.zeros(size, np.int8)
        self._sequences = np.zeros(size, np.int32)
        first = self._sequences.ctypes.data
        self._pointers = np.arange(first, first + 4 * size, 4, dtype=np.uint64)
        made = llama_cpp.llama_batch()
        number = ctypes.POINTER(ctypes.c_int32)
        made.token, made.pos = self._tokens.ctypes.data_as(number), self._at.ctypes.data_as(number)
        made.n_seq_id = self._ones.ctypes.data_as(number)
        made.seq_id = self._pointers.ctypes.data_as(ctypes.POINTER(number))
        made.logits = self._wanted.ctypes.data_as(ctypes.POINTER(ctypes.c_int8))
        self._batch = made

    def clear_batch(self) -> None:
        self._batch.n_tokens = 0

    def add(self, sequence: int, first: int, tokens: Sequence[int], *, answered: bool) -> int:
        """Tokens of one sequence from position `first`; the row of the last, whose logits are made if `answered`."""
        begin = int(self._batch.n_tokens)
        end = begin + len(tokens)
        self._tokens[begin:end] = tokens
        self._at[begin:end] = np.arange(first, first + len(tokens), dtype=np.int32)
        self._sequences[begin:end] = sequence
        self._wanted[begin:end] = 0
        self._wanted[end - 1] = answered
        self._batch.n_tokens = end
        return end - 1

    def decode(self) -> int:
        """0: done; NO_CELLS: nothing was done. Raises RuntimeError: what stands in the cells is in doubt."""
        found = int(llama_cpp.llama_decode(self.pointer, self._batch))
        if found not in (0, NO_CELLS):
            raise RuntimeError(f"llama_decode returned {found}")
        return found

    def forget(self, sequence: int) -> None:
        """Frees its cells, or what was put aside."""
        self._aside.pop(sequence, None)
        self._cut(sequence, 0)

    def put_aside(self, sequence: int) -> None:
        """Out of the cells until somebody takes it over: each step passes over all cells up to the last in use, those
        of sequences that only wait too. 6,000 of them made a token of a 135M model on one core a fifth slower."""
        size = llama_cpp.llama_state_seq_get_size(self.pointer, sequence)
        if size + sum(len(each) for each in self._aside.values()) > ASIDE_BYTES:
            return
        state = np.empty(size, np.uint8)
        if llama_cpp.llama_state_seq_get_data(self.pointer, _bytes(state), size, sequence) == size:
            self._cut(sequence, 0)
            self._aside[sequence] = state

    def take_over(self, giver: int, taker: int, size: int) -> bool:
        """The taker has the first `size` tokens of the giver and nothing else, the giver, where it is another, all that
        it had. False: the taker has nothing, for there was no room to bring back what was put aside."""
        state = self._aside.get(giver)
        if giver != taker:
            self.forget(taker)
        if state is not None:
            return self._brought_back(state, taker, size)
        if giver != taker:  # nothing is copied: the cells belong to both
            llama_cpp.llama_memory_seq_cp(self._memory, giver, taker, 0, size)
        self._cut(taker, size)
        return True

    def _brought_back(self, state: NDArray[np.uint8], taker: int, size: int) -> bool:
        read = llama_cpp.llama_state_seq_set_data(self.pointer, _bytes(state), len(state), taker)
        self._aside.pop(taker, None)
        self._cut(taker, size if read else 0)
        return bool(read)

    def _cut(self, sequence: int, first: int) -> None:
        if not llama_cpp.llama_memory_seq_rm(self._memory, sequence, first, -1):
            raise RuntimeError("a part of a sequence cannot be forgotten")

    def clear(self) -> None:
        self._aside.clear()
        llama_cpp.llama_memory_clear(self._memory, True)

    def set_threads(self, threads: int, threads_batch: int) -> None:
        llama_cpp.llama_set_n_threads(self.pointer, threads, threads_batch)

    def logits(self, row: int) -> NDArray[np.float32]:
        """Of the whole vocabulary; valid until the next step."""
        found = llama_cpp.llama_get_logits_ith(self.pointer, row)
        return np.ctypeslib.as_array(found, shape=(self.weights.tokens,))

    def close(self) -> None:
        llama_cpp.llama_free(self.pointer)


def _bytes(state: NDArray[np.uint8]) -> Any:
    return state.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
