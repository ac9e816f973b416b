"""What a byte a number left out of vectors: a second byte, so that nothing else is needed to rank by."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.rag.engines import Vectors
from services.rag.index import Ids

BLOCK = 1 << 16
"""Rows of a block. Blocks are never moved, so adding one vector to a million costs no more than to a thousand; the
system gives a block's memory only where something was written."""
BEYOND = -128
"""Stands where a number was outside of the range that the first byte can tell."""

Rows = NDArray[np.int8]
"""int8 [n, dimensions]."""


class Fine:
    """By position, from 0 and rising."""

    STEPS = 254
    """Parts that the width of a first byte is cut into: -127 to 127."""

    def __init__(self, dimensions: int) -> None:
        self._dimensions = dimensions
        self._blocks: list[Rows] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def bytes(self) -> int:
        return self._count * self._dimensions

    def add(self, left: Vectors, step: Vectors) -> None:
        """`left`: float32 [n, dimensions], the vectors less what their first bytes stand for; `step`: their width."""
        parts = np.rint(left * (self.STEPS / np.maximum(step, np.finfo(np.float32).eps)))
        half = self.STEPS // 2
        parts[np.abs(parts) > half + 1] = BEYOND  # one more is rounding
        self._append(np.clip(parts, BEYOND, half).astype(np.int8))

    def _append(self, rows: Rows) -> None:
        while len(rows):
            at = self._count % BLOCK
            if at == 0:
                self._blocks.append(np.empty((BLOCK, self._dimensions), dtype=np.int8))
            fit = rows[: BLOCK - at]
            self._blocks[-1][at : at + len(fit)] = fit
            self._count += len(fit)
            rows = rows[len(fit) :]

    def of(self, positions: Ids) -> Rows:
        rows = [self._blocks[at // BLOCK][at % BLOCK] for at in positions.tolist()]
        return np.array(rows, dtype=np.int8).reshape(len(rows), self._dimensions)

    def empty(self, positions: Ids) -> None:
        for at in positions.tolist():
            self._blocks[at // BLOCK][at % BLOCK] = 0

    def rows(self) -> Rows:
        """A copy of all."""
        whole = np.empty((self._count, self._dimensions), dtype=np.int8)
        for at, block in enumerate(self._blocks):
            part = whole[at * BLOCK : (at + 1) * BLOCK]
            part[:] = block[: len(part)]
        return whole

    def restore(self, rows: NDArray[np.uint8]) -> None:
        """As `rows` gave them, in bytes. Raises ValueError where they are not whole."""
        self._append(rows.view(np.int8).reshape(-1, self._dimensions))
