#!/usr/bin/env python3
"""`nemo backup` and `nemo restore` beside the bare thing: Python's tarfile and AES-256-GCM over the same files.

Both write one file and flush it; the bare one knows no manifest, no hashes, no database and takes no locks. The rounds
are interleaved in one run, so that a noisy machine disturbs both alike; ratios are medians of the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import os
import shutil
import sqlite3
import tarfile
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from figures import Figure, ratio, tell

from services.cli import keys
from services.cli.backup import database, key, make, restore, schemas
from shared.settings import ServiceSettings
from shared.storage import postgres
from shared.storage.blobs import FileBlobs
from shared.storage.keyring import PostgresKeyring

FRAME = 1 << 20
OWNERS = 4


class Sealing:
    """The least that encrypts a stream."""

    def __init__(self, file: Any, aead: AESGCM) -> None:
        self._file, self._aead, self._rest, self._number = file, aead, bytearray(), 0

    def write(self, data: bytes) -> None:
        self._rest += data
        while len(self._rest) >= FRAME:
            self.put(FRAME)

    def put(self, size: int) -> None:
        self._file.write(self._aead.encrypt(self._number.to_bytes(12, "big"), bytes(self._rest[:size]), None))
        del self._rest[:size]
        self._number += 1


class Opening:
    def __init__(self, file: Any, aead: AESGCM) -> None:
        self._file, self._aead, self._rest, self._number = file, aead, bytearray(), 0

    def read(self, size: int) -> bytes:
        while len(self._rest) < size and (sealed := self._file.read(FRAME + 16)):
            self._rest += self._aead.decrypt(self._number.to_bytes(12, "big"), sealed, None)
            self._number += 1
        taken = bytes(self._rest[:size])
        del self._rest[:size]
        return taken


def bare_backup(data: Path, path: Path, aead: AESGCM) -> None:
    with path.open("wb") as file:
        stream = Sealing(file, aead)
        with tarfile.open(fileobj=stream, mode="w|", bufsize=FRAME) as tar:  # type: ignore[call-overload]
            for name in ("blobs", "vaults", "users.db"):
                tar.add(data / name, arcname=name)
        stream.put(FRAME)
        file.flush()
        os.fsync(file.fileno())


def bare_restore(path: Path, target: Path, aead: AESGCM) -> None:
    with path.open("rb") as file, tarfile.open(fileobj=Opening(file, aead), mode="r|", bufsize=FRAME) as tar:  # type: ignore[call-overload]
        tar.extractall(target, filter="data")
    os.sync()


async def build(settings: ServiceSettings, url: str, megabytes: int) -> int:
    """Recordings of 1 MB and a database of 20 MB for each of a few users; the bytes of all."""
    data = settings.data_dir
    pool = await postgres.connect(url)
    for service in ("gpu-coordinator", "transcription"):
        await postgres.migrate(pool, service, schemas.FOLDERS[service])
    ring = PostgresKeyring(pool, keys.value(settings.secrets_folder, "rag_db_key"))
    await ring.prepare()

    async def chunks() -> AsyncIterator[bytes]:
        yield os.urandom(1_000_000)

    for number in range(OWNERS):
        owner = f"usr_{number}"
        found = await ring.data_key(owner)
        for each in range(megabytes // OWNERS - 20):
            await FileBlobs(data / "blobs").write(owner, f"rec_{each}", found, chunks(), max_bytes=10**9)
        fill(data / "vaults" / f"{owner}.db", 20)
    fill(data / "users.db", 1)
    await pool.close()
    stored = [path for name in ("blobs", "vaults") for path in (data / name).rglob("*")]
    return sum(path.stat().st_size for path in stored if path.is_file())


def fill(path: Path, megabytes: int) -> None:
    """A copy needs no key, so any database of the size will do."""
    path.parent.mkdir(exist_ok=True, parents=True)
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE filling (data)")
        db.executemany("INSERT INTO filling VALUES (?)", ((os.urandom(100_000),) for _ in range(10 * megabytes)))
        db.commit()


async def run(folder: Path, megabytes: int, rounds: int) -> list[Figure]:
    data, store = folder / "data", folder / "store"
    store.mkdir()
    keys.ensure(data / "secrets", data)
    private, aead = key.private_of(key.init(data / "secrets", None)), AESGCM(os.urandom(32))
    times: dict[str, list[float]] = {"backup": [], "bare backup": [], "restore": [], "bare restore": []}
    async with database.started(folder / "server", keys.value(data / "secrets", "postgres_password")) as url:
        settings = ServiceSettings(DATA_DIR=data, DATABASE_URL=url)
        size = await build(settings, url, megabytes)
        for _ in range(rounds):
            began = time.perf_counter()
            bare_backup(data, folder / "bare", aead)
            times["bare backup"].append(time.perf_counter() - began)
            began = time.perf_counter()
            made = await make.run(settings, store, 1)
            times["backup"].append(time.perf_counter() - began)
            began = time.perf_counter()
            bare_restore(folder / "bare", folder / "bare restored", aead)
            times["bare restore"].append(time.perf_counter() - began)
            began = time.perf_counter()
            await restore.run(settings, made.path, folder / "restored", private, replace=True)
            times["restore"].append(time.perf_counter() - began)
            for name in ("bare restored", "restored"):
                shutil.rmtree(folder / name)
    return [figure(what, times, size) for what in ("backup", "restore")]


def figure(what: str, times: dict[str, list[float]], size: int) -> Figure:
    ours, bare = sorted(times[what]), sorted(times[f"bare {what}"])
    middle = len(ours) // 2
    speeds = f"{size / ours[middle] / 1e6:.0f} MB/s beside {size / bare[middle] / 1e6:.0f} MB/s"
    detail = f"{speeds}; {size / 1e6:.0f} MB in files and a small database, median of {len(ours)} interleaved rounds"
    found = ratio(times[f"bare {what}"], times[what])
    return Figure(f"{what}: MB/s / MB/s of bare tarfile + AES-256-GCM", found, "", detail)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        with contextlib.redirect_stdout(io.StringIO()):
            figures = asyncio.run(run(Path(folder), args.megabytes, args.rounds))
        tell(figures)


if __name__ == "__main__":
    main()
