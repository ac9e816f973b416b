"""What one user asked lately, kept in this process only, as long as their vault is open."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TypeAlias

from pydantic import TypeAdapter

from services.rag.engines import Vectors
from shared.schemas.rag import SearchHit, SearchRequest

Version: TypeAlias = tuple[int, int]
"""Of a vault; see `Vault.version`."""
ENTRY_BYTES = 400
"""What an entry takes beside its text and vector, roughly."""
_HITS = TypeAdapter(list[SearchHit])


@dataclass(frozen=True)
class _Answer:
    version: Version
    hits: bytes
    """As JSON: its size is known, and who is given hits may change them."""


class QueryCache:
    """Vectors by query and hits by request, the oldest forgotten first. One thread's at a time, with the vault's lock.

    A vector holds as long as the vault is open. Hits hold until anything in the vault changes.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._vectors: OrderedDict[str, Vectors] = OrderedDict()
        self._answers: OrderedDict[str, _Answer] = OrderedDict()
        self.bytes = 0

    def vector(self, query: str) -> Vectors | None:
        found = self._vectors.get(query)
        if found is not None:
            self._vectors.move_to_end(query)
        return found

    def hits(self, request: SearchRequest, version: Version) -> list[SearchHit] | None:
        key = request.model_dump_json()
        found = self._answers.get(key)
        if found is None or found.version != version:
            return None
        self._answers.move_to_end(key)
        return _HITS.validate_json(found.hits)

    def keep(self, request: SearchRequest, vector: Vectors | None, hits: list[SearchHit], version: Version) -> None:
        if vector is not None and request.query not in self._vectors:
            self._vectors[request.query] = vector
            self.bytes += _size(request.query, vector.nbytes)
        key = request.model_dump_json()
        self._forget_answer(key)
        answer = self._answers[key] = _Answer(version, _HITS.dump_json(hits))
        self.bytes += _size(key, len(answer.hits))
        self._trim()

    def _trim(self) -> None:
        """Answers first: a vector holds longer, and making it costs most of a search."""
        while self.bytes > self._most_bytes and self._answers:
            self._forget_answer(next(iter(self._answers)))
        while self.bytes > self._most_bytes and self._vectors:
            query, vector = self._vectors.popitem(last=False)
            self.bytes -= _size(query, vector.nbytes)

    def _forget_answer(self, key: str) -> None:
        answer = self._answers.pop(key, None)
        if answer is not None:
            self.bytes -= _size(key, len(answer.hits))


def _size(key: str, value_bytes: int) -> int:
    return len(key) * 4 + value_bytes + ENTRY_BYTES
