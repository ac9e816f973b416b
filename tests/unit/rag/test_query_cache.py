"""The latest queries of one user."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np

from services.rag.query_cache import QueryCache
from shared.schemas.rag import HitMetadata, SearchHit, SearchRequest

VECTOR = np.ones(384, dtype=np.float32)
NOW = (1, 1)


def asked(query: str, **more: Any) -> SearchRequest:
    return SearchRequest.model_validate({"query": query, **more})


def hit(content: str) -> SearchHit:
    at = datetime.now(UTC)
    facts = {"memory_id": "mem_1", "memory_type": "note", "tags": [], "created_at": at, "occurred_at": at}
    return SearchHit(content=content, score=0.5, metadata=HitMetadata.model_validate(facts))


def test_the_same_request_has_the_same_answer_until_the_vault_changes() -> None:
    cache, hits = QueryCache(10_000), [hit("The key is under the pot.")]
    assert cache.hits(asked("key"), NOW) is None and cache.vector("key") is None
    cache.keep(asked("key"), VECTOR, hits, NOW)
    assert cache.hits(asked("key"), NOW) == hits
    assert cache.hits(asked("key", top_k=3), NOW) is None and cache.hits(asked("key", mode="text"), NOW) is None
    for later in ((2, 1), (1, 2)):
        assert cache.hits(asked("key"), later) is None
    assert cache.vector("key") is VECTOR, "what a query means does not depend on the vault"


def test_who_changes_an_answer_changes_it_for_themselves() -> None:
    cache = QueryCache(10_000)
    cache.keep(asked("key"), None, [hit("The key.")], NOW)
    first = cache.hits(asked("key"), NOW)
    assert first is not None
    first[0].content = "changed"
    assert cache.hits(asked("key"), NOW) == cache.hits(asked("key"), NOW) != first


def test_bytes_are_bounded_and_the_oldest_goes_first() -> None:
    cache = QueryCache(20_000)
    for n in range(100):
        cache.keep(asked(f"question {n}"), VECTOR, [hit("x" * 500)], NOW)
        assert 0 < cache.bytes <= 20_000
    assert cache.vector("question 99") is not None and cache.vector("question 0") is None
    for n in range(100):
        cache.keep(asked("again"), VECTOR, [hit("x" * n)], (n, 1))
    assert cache.bytes <= 20_000


def test_of_no_size_it_keeps_nothing() -> None:
    cache = QueryCache(0)
    cache.keep(asked("key"), VECTOR, [hit("The key.")], NOW)
    assert cache.bytes == 0 and cache.hits(asked("key"), NOW) is None and cache.vector("key") is None
