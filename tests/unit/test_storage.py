"""Seams and their twins give the same answers."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.crypto.envelope import WrongKey, derive, new_key, seal, unseal
from shared.errors import NotFound, StorageFailed, TooLarge
from shared.storage import sqlcipher
from shared.storage.blobs import FRAME_BYTES, Blobs, FileBlobs, MemoryBlobs
from shared.storage.redis import MemoryStore


@given(st.binary(max_size=2000), st.binary(max_size=50))
def test_an_envelope_opens_with_its_key_and_name_only(plain: bytes, name: bytes) -> None:
    key = new_key()
    sealed = seal(key, plain, name)
    assert unseal(key, sealed, name) == plain
    for wrong in ((new_key(), sealed, name), (key, sealed, name + b"x"), (key, sealed[:-1] + b"\0\1", name)):
        with pytest.raises(WrongKey):
            unseal(*wrong)


def test_keys_of_two_purposes_differ() -> None:
    assert derive("master", "a") != derive("master", "b") and len(derive("master", "a")) == 32


async def chunks(data: bytes, size: int) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


@pytest.fixture(params=["file", "memory"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    return FileBlobs(tmp_path) if request.param == "file" else MemoryBlobs()


@pytest.mark.parametrize("size", [0, 1, FRAME_BYTES - 1, FRAME_BYTES, FRAME_BYTES + 1, 3 * FRAME_BYTES + 17])
async def test_blobs_are_read_by_range(blobs: Blobs, size: int) -> None:
    data, key = os.urandom(size), new_key()
    info = await blobs.write("usr_1", "rec_1", key, chunks(data, 10_000), max_bytes=10**7)
    assert info.size_bytes == size == await blobs.size("usr_1", "rec_1")
    for start, end in (
        (0, None),
        (0, 1),
        (size // 2, size),
        (max(0, size - 5), None),
        (FRAME_BYTES - 1, FRAME_BYTES + 1),
    ):
        found = b"".join([part async for part in blobs.read("usr_1", "rec_1", key, start, end)])
        assert found == data[start:end]
    await blobs.delete("usr_1", "rec_1")
    with pytest.raises(NotFound):
        await blobs.size("usr_1", "rec_1")


async def test_a_blob_too_large_leaves_nothing(blobs: Blobs, tmp_path: Path) -> None:
    with pytest.raises(TooLarge):
        await blobs.write("usr_1", "rec_1", new_key(), chunks(b"x" * 1000, 100), max_bytes=999)
    with pytest.raises(NotFound):
        await blobs.size("usr_1", "rec_1")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


async def test_a_changed_or_cut_blob_is_refused(tmp_path: Path) -> None:
    blobs, key, data = FileBlobs(tmp_path), new_key(), os.urandom(2 * FRAME_BYTES + 5)
    await blobs.write("usr_1", "rec_1", key, chunks(data, FRAME_BYTES), max_bytes=10**7)
    path = tmp_path / "usr_1" / "rec_1"
    stored = path.read_bytes()
    assert data[:50] not in stored
    for damaged in (stored[:-30] + b"x" * 30, stored[: 12 + FRAME_BYTES + 16]):
        path.write_bytes(damaged)
        with pytest.raises(WrongKey):
            [part async for part in blobs.read("usr_1", "rec_1", key)]


@pytest.mark.parametrize("name", ["../x", "a/b", ".hidden", "", "a\0b"])
async def test_names_never_leave_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises((NotFound, ValueError)):
        await FileBlobs(tmp_path).write("usr_1", name, new_key(), chunks(b"x", 1), max_bytes=10)


def test_sqlcipher_keeps_nothing_in_the_clear(tmp_path: Path) -> None:
    key, path = new_key(), tmp_path / "vault.db"
    db = sqlcipher.connect(path, key)
    sqlcipher.migrate(db, ["CREATE TABLE note (text TEXT)"])
    sqlcipher.migrate(db, ["CREATE TABLE note (text TEXT)", "ALTER TABLE note ADD COLUMN at TEXT"])
    with sqlcipher.transaction(db):
        db.execute("INSERT INTO note (text) VALUES ('zanzibarquetzal')")
    for file in tmp_path.iterdir():
        assert b"zanzibarquetzal" not in file.read_bytes()
    with pytest.raises(StorageFailed):
        sqlcipher.connect(path, new_key())
    with pytest.raises(ValueError, match="stop"), sqlcipher.transaction(db):
        db.execute("DELETE FROM note")
        raise ValueError("stop")
    assert db.execute("SELECT count(*) FROM note").fetchone()[0] == 1


async def test_the_store_twin() -> None:
    store = MemoryStore()
    assert await store.claim("a", 10) and not await store.claim("a", 10)
    await store.put("b", "1", 10)
    assert await store.take("b") == "1" and await store.take("b") is None
    hits = [await store.hit("c", 2, 10) for _ in range(3)]
    assert [hit.allowed for hit in hits] == [True, True, False] and hits[0].remaining == 1
    async with store.subscribe("news") as heard:
        await store.publish("news", {"n": 1})
        assert await anext(heard) == ("news", {"n": 1})


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 200_000), st.integers(1, 70_000))
def test_sizes_on_disk_tell_plain_sizes(size: int, step: int) -> None:
    from shared.storage.blobs import HEADER_BYTES, _plain_size, _Sealer

    sealer = _Sealer(new_key(), b"x", b"12345678")
    stored = sum(len(sealer.feed(b"\0" * min(step, size - at))) for at in range(0, size, step)) + len(sealer.finish())
    assert _plain_size(HEADER_BYTES + stored) == size
