"""The store on a real server, and its twin beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from shared.errors import StorageFailed
from shared.storage.redis import MemoryStore, RedisStore, Store
from tests.conftest import free_ports


@pytest.fixture(params=["redis", "memory"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    opened = RedisStore(request.getfixturevalue("redis_url")) if request.param == "redis" else MemoryStore()
    yield opened
    await opened.close()


async def test_hits_at_once_are_counted_one_by_one(store: Store, tmp_path_factory: pytest.TempPathFactory) -> None:
    key = tmp_path_factory.mktemp("key").name
    hits = await asyncio.gather(*(store.hit(key, 40, 60) for _ in range(100)))
    assert sum(hit.allowed for hit in hits) == 40
    assert sorted(hit.remaining for hit in hits) == [0] * 61 + list(range(1, 40))
    assert all(0 < hit.reset_s <= 60 for hit in hits)


async def test_a_window_ends(store: Store, tmp_path_factory: pytest.TempPathFactory) -> None:
    key = tmp_path_factory.mktemp("key").name
    assert (await store.hit(key, 1, 2)).allowed
    assert not (await store.hit(key, 1, 2)).allowed
    await asyncio.sleep(2.2)
    assert (await store.hit(key, 1, 2)).allowed


async def test_a_caller_that_leaves_takes_nobody_with_it(
    store: Store, tmp_path_factory: pytest.TempPathFactory
) -> None:
    key = tmp_path_factory.mktemp("key").name
    calls = [asyncio.create_task(store.hit(key, 100, 60)) for _ in range(10)]
    await asyncio.sleep(0)
    calls[0].cancel()
    found = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(each, asyncio.CancelledError) for each in found) <= 1
    assert (await store.hit(key, 100, 60)).remaining < 100


async def test_one_claim_wins(store: Store, tmp_path_factory: pytest.TempPathFactory) -> None:
    key = tmp_path_factory.mktemp("key").name
    assert sum(await asyncio.gather(*(store.claim(key, 60) for _ in range(20)))) == 1


async def test_a_server_that_is_not_there_is_told_to_every_caller() -> None:
    store = RedisStore(f"redis://127.0.0.1:{free_ports(1)}")
    found = await asyncio.gather(*(store.hit("key", 1, 60) for _ in range(5)), return_exceptions=True)
    assert [type(each) for each in found] == [StorageFailed] * 5
    with pytest.raises(StorageFailed):
        await store.hit("key", 1, 60)
    await store.close()
