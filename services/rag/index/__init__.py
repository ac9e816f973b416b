"""Vectors of one user, found by nearness.

Ids are the vault's chunk ids and scores are cosines, because every vector has length 1. An index holds one user's
vectors and nobody else's, so isolation does not depend on a filter. It is never the truth: that is the vault's table of
chunks, from which any index can be made again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from services.rag.engines import Vectors

Ids: TypeAlias = NDArray[np.int64]
"""int64 [n]."""


class VectorIndex(Protocol):
    """Blocking, and one thread's at a time: it is used with its vault's lock held."""

    def __len__(self) -> int: ...

    @property
    def bytes(self) -> int:
        """Memory that it takes in this process."""
        ...

    def ids(self) -> Ids:
        """All that are here, in any order."""
        ...

    def add(self, ids: Sequence[int] | Ids, vectors: Vectors) -> None:
        """`vectors`: float32 [ids, dimensions]. An id that is here must be removed first."""
        ...

    def remove(self, ids: Sequence[int] | Ids) -> None:
        """Those that are here; others are passed over."""
        ...

    def cosines(self, vector: Vectors, ids: Sequence[int]) -> dict[int, float]:
        """Of the ids that are here, exactly."""
        ...

    def search(self, vector: Vectors, count: int, among: Sequence[int] | None = None) -> list[tuple[int, float]]:
        """The `count` nearest as (id, cosine), best first; `among` restricts before ranking. Cosines are exact."""
        ...
