#!/usr/bin/env python3
"""Search in real encrypted vaults of many memories, beside exact search over the same vectors and a vector store.

    python scripts/bench/search.py [--texts ../shared/data/goemotions/ekman-train.tsv] [--memories 10000]
        [--queries 200] [--sizes 1000 10000 100000] [--users 100] [--minutes 60]
        [--peer build/bench-chroma/bin/python] [--peer-minutes 20] [--join smaller.json ...]
        [--keep folder]

`--texts`: one memory a line, its first column; queries are lines that are not in the vault. Then one user with each of
`--sizes` memories, and `--users` users with 1,000 each. Their vectors are made: points around 2,000 topics in 96
directions, with noise in all 384. `--peer`: the Python of an environment with chromadb, made by scripts/bench/run.
Ours and the peer are filled at the same time, then asked in turns. A million memories take an hour on two cores: they
may have a run of their own (`--users 0 --sizes 1000000`) that puts its figures behind those of another run (`--join`),
and `--keep` leaves the vaults, with their keys, in a folder where the next run finds them.

One thread for a query, in FAISS and in numpy: with two, both take several times as long where other work is on the
machine, because each waits for the other.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy is loaded
import faiss
import numpy as np
from figures import Figure, p, tell

from services.rag import repository
from services.rag.engines.onnx_minilm import OnnxMiniLM
from services.rag.index.graph import GraphIndex
from services.rag.repository import Chunk
from services.rag.search import search
from services.rag.service import Library
from services.rag.settings import Settings
from services.rag.vaults import Vault, Vaults
from shared.crypto.envelope import new_key
from shared.schemas.ids import new_id
from shared.schemas.rag import Memory, SearchHit, SearchRequest
from shared.storage.keyring import MemoryKeyring
from shared.storage.sqlcipher import transaction

USER = "usr_bench"
SIZES = (1_000, 10_000, 100_000)
DIMENSIONS = 384
EACH = 1_000
"""Memories of each of many users."""
BATCH = 20_000
REQUEST = SearchRequest(query="made", top_k=10, mode="vector")


def fill(vault: Vault, texts: list[str], vectors: np.ndarray) -> dict[str, int]:
    """Memory id to the row of its vector. One transaction: filling is not what is measured."""
    at, rows = time.time(), {}
    with transaction(vault.db):
        for row, (text, vector) in enumerate(zip(texts, vectors, strict=True)):
            memory = Memory.model_validate(
                {"memory_id": new_id("mem"), "content": text, "memory_type": "note", "revision": 1}
                | dict.fromkeys(("occurred_at", "created_at", "updated_at"), at)
            )
            repository.insert_memory(vault, memory, [Chunk(text)], vector[None, :])
            rows[memory.memory_id] = row
    vault.forget_index()
    return rows


def pour(vault: Vault, vectors: np.ndarray) -> None:
    """The same, thousands at a time; the memory's id is the row of its vector."""
    at, there = repository.now(), vault.db.execute("SELECT count(*) FROM chunk").fetchone()[0]
    for first in range(there, len(vectors), BATCH):
        rows = range(first, min(first + BATCH, len(vectors)))
        with transaction(vault.db):
            vault.db.executemany(
                "INSERT INTO memory (memory_id, content, memory_type, occurred_at, created_at, updated_at)"
                " VALUES (?, 'What was said.', 'note', ?, ?, ?)",
                [(f"mem_{row}", at, at, at) for row in rows],
            )
            vault.db.executemany(
                "INSERT INTO chunk (memory_id, content, model, vector) VALUES (?, 'What was said.', ?, ?)",
                [(f"mem_{row}", vault.model, vectors[row].tobytes()) for row in rows],
            )
    vault.forget_index()


def made(count: int, seed: int) -> np.ndarray:
    """float32 [count, DIMENSIONS] of length 1; every seed's points are around the same topics."""
    same, rng = np.random.default_rng(7), np.random.default_rng(seed)
    directions = same.normal(size=(96, DIMENSIONS)).astype(np.float32)
    topics = same.normal(size=(2000, 96)).astype(np.float32)
    found = np.empty((count, DIMENSIONS), dtype=np.float32)
    for at in range(0, count, BATCH):
        size = min(BATCH, count - at)
        points = topics[rng.integers(0, len(topics), size)] + 0.7 * rng.normal(size=(size, 96)).astype(np.float32)
        batch = points @ directions + 1.5 * rng.normal(size=(size, DIMENSIONS)).astype(np.float32)
        found[at : at + size] = batch / np.linalg.norm(batch, axis=1, keepdims=True)
    return found


def timed(call: Callable[[], Any], took: list[float]) -> Any:
    began = time.perf_counter()
    found = call()
    took.append(time.perf_counter() - began)
    return found


def recall(found: list[set[int]], wanted: list[set[int]]) -> float:
    return round(float(np.mean([len(a & b) / len(b) for a, b in zip(found, wanted, strict=True)])), 4)


def shown(took: list[float]) -> str:
    return f"p50 {p(took, 0.5) * 1000:.2f} ms, p99 {p(took, 0.99) * 1000:.2f} ms"


async def of_texts(args: argparse.Namespace, folder: Path) -> list[Figure]:
    """Real texts, with what the embedding takes; asked once and asked again."""
    lines = dict.fromkeys(line.split("\t")[0] for line in args.texts.read_text().splitlines())
    texts = [line for line in lines if len(line) > 20][: args.memories + args.queries]
    texts, queries = texts[: args.memories], texts[args.memories :]
    settings = Settings(data_dir=folder, query_cache_bytes=0)
    embedder, keys = OnnxMiniLM(settings), MemoryKeyring()
    facts = embedder.capabilities
    vaults = Vaults(settings, keys, model=facts.model, dimensions=facts.dimensions)
    library = Library(vaults, embedder, settings)
    vectors = await library.embed(texts)
    rows = await library.run(USER, lambda vault: fill(vault, texts, vectors))
    await library.search(USER, SearchRequest(query="warm"))
    took: dict[str, list[float]] = {"hybrid": [], "vector": [], "embedding": [], "exact": [], "first": [], "again": []}
    found, wanted = [], []
    for query in queries:
        began = time.perf_counter()
        vector = (await library.embed([query]))[0]
        took["embedding"].append(time.perf_counter() - began)
        best = timed(lambda vector=vector: np.argpartition(-(vectors @ vector), 10)[:10], took["exact"])  # type: ignore[misc]
        wanted.append({int(each) for each in best})
        for mode in ("hybrid", "vector"):
            hits = await ask(library, query, mode, took[mode])
        found.append({rows[hit.metadata.memory_id] for hit in hits})
    await vaults.close()
    settings = Settings(data_dir=folder)
    vaults = Vaults(settings, keys, model=facts.model, dimensions=facts.dimensions)
    library = Library(vaults, embedder, settings)
    await library.search(USER, SearchRequest(query="warm"))
    for query in queries:
        for name in ("first", "again"):
            await ask(library, query, "hybrid", took[name])
    await vaults.close()
    bare = p(took["embedding"], 0.5) + p(took["exact"], 0.5)
    beside = f"embedding alone {shown(took['embedding'])}, numpy alone {shown(took['exact'])}"
    return [
        Figure(f"recall@10 against exact search, {len(texts)} memories", recall(found, wanted), ">= 0.99"),
        *(
            Figure(
                f"search, {name}: p50 of ours / p50 of embedding the query and exact search by numpy",
                round(p(took[name], 0.5) / bare, 2),
                "",
                f"{shown(took[name])}; {beside}",
            )
            for name in ("hybrid", "vector")
        ),
        Figure(
            "search, hybrid: p50 of a query asked again / p50 of it asked first",
            round(p(took["again"], 0.5) / p(took["first"], 0.5), 3),
            "",
            f"{shown(took['again'])} and {shown(took['first'])}",
        ),
    ]


async def ask(library: Library, query: str, mode: str, took: list[float]) -> list[SearchHit]:
    request = SearchRequest.model_validate({"query": query, "top_k": 10, "mode": mode})
    began = time.perf_counter()
    hits = await library.search(USER, request)
    took.append(time.perf_counter() - began)
    return hits


@dataclass
class Asked:
    """What one index answered to all queries."""

    took: list[float] = field(default_factory=list)
    found: list[set[int]] = field(default_factory=list)

    def ask(self, call: Callable[[], Any]) -> None:
        self.found.append({int(each) for each in timed(call, self.took)})


class Peer:
    """Chroma in a process of its own, filled while ours is; see search_peer.py."""

    def __init__(self, python: Path, vectors: np.ndarray, queries: np.ndarray, folder: Path, minutes: float) -> None:
        paths = [str(folder / "vectors.npy"), str(folder / "queries.npy")]
        np.save(paths[0], vectors)
        np.save(paths[1], queries)
        script = str(Path(__file__).with_name("search_peer.py"))
        command = [str(python), script, *paths, str(folder / "chroma"), str(minutes * 60)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.answers = Asked()
        self.filled: dict[str, float] = {}

    def wait(self) -> None:
        """Until it is filled."""
        self.filled = self._answer()

    def ask(self, number: int) -> None:
        assert self._process.stdin is not None
        print(number, file=self._process.stdin, flush=True)
        told = self._answer()
        self.answers.took.append(told["took_s"])
        self.answers.found.append(set(told["found"]))

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def peer_of(args: argparse.Namespace, vectors: np.ndarray, queries: np.ndarray) -> Iterator[Peer | None]:
    if not args.peer:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="nemo-bench-peer-", dir=args.folder) as folder:
        peer = Peer(args.peer, vectors, queries, Path(folder), args.peer_minutes)
        try:
            yield peer
        finally:
            peer.close()


def whole_search(vault: Vault, query: np.ndarray) -> list[str]:
    """Ours, but for the embedding: filters, index, rows, records. Answers rows of vectors."""
    return [hit.metadata.memory_id.removeprefix("mem_") for hit in search(vault, REQUEST, query)]


def in_turns(vault: Vault, vectors: np.ndarray, queries: np.ndarray, peer: Peer | None) -> tuple[Asked, Asked]:
    """Answers of ours and of FAISS comparing all in the clear, the truth; each query to all before the next."""
    ours, truth, bare = Asked(), Asked(), faiss.IndexFlatIP(DIMENSIONS)
    bare.add(vectors)
    whole_search(vault, queries[0])
    bare.search(queries[:1], 10)
    for number, query in enumerate(queries):
        ours.ask(lambda query=query: whole_search(vault, query))  # type: ignore[misc]
        truth.ask(lambda query=query: bare.search(query[None, :], 10)[1][0])  # type: ignore[misc]
        if peer is not None:
            peer.ask(number)
    return ours, truth


async def tended(vaults: Vaults, vectors: np.ndarray) -> list[float]:
    """Seconds of searches while the graph is built."""
    took: list[float] = []
    while await vaults.run(USER, lambda vault: vault.tended or vault.kept.due):
        began = time.perf_counter()
        await vaults.run(USER, lambda vault: search(vault, REQUEST, vectors[0]))
        took.append(time.perf_counter() - began)
        await asyncio.sleep(min(10.0, max(1.0, 20 * took[-1])))
    return took


def at_our_priority() -> None:
    """The thread that builds graphs, else behind all others: on a crowded machine it would not end."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.getpriority(os.PRIO_PROCESS, os.getpid()))


class KeptKeyring(MemoryKeyring):
    """One key, in a file beside the vault that it opens."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    async def data_key(self, user_id: str) -> bytes:
        if not self._path.exists():
            self._path.write_bytes(new_key())
        return self._path.read_bytes()


async def of_size(count: int, queries: np.ndarray, args: argparse.Namespace, folder: Path) -> list[Figure]:
    vectors = made(count, seed=count)
    settings = Settings(data_dir=folder, index_bytes=2**40, index_exact_most=args.exact_most)
    vaults = Vaults(settings, KeptKeyring(folder / "key"), model="made", dimensions=DIMENSIONS)
    vaults._gardener.submit(at_our_priority)
    with peer_of(args, vectors, queries) as peer:
        began = time.perf_counter()
        await vaults.run(USER, lambda vault: pour(vault, vectors))  # what an earlier run kept is left as it is
        poured_s, began = time.perf_counter() - began, time.perf_counter()
        await vaults.run(USER, lambda vault: len(vault.index))
        first_s = time.perf_counter() - began
        meanwhile, built_s = await tended(vaults, queries), time.perf_counter() - began
        if peer is not None:
            peer.wait()
        ours, truth = await vaults.run(USER, lambda vault: in_turns(vault, vectors, queries, peer))
    size, graph = await vaults.run(USER, lambda vault: (vault.index.bytes, isinstance(vault.index, GraphIndex)))
    await vaults.run(USER, Vault.forget_index)
    began = time.perf_counter()
    await vaults.run(USER, lambda vault: len(vault.index))
    again_s = time.perf_counter() - began
    await vaults.close()
    name = f"{count:,} memories of one user"
    how = "graph" if graph else "exact"
    if meanwhile:
        how += f", built beside in {built_s:.0f} s with searches {shown(meanwhile)} meanwhile"
    figures = [
        Figure(f"{name}: recall@10", recall(ours.found, truth.found), ">= 0.98" if graph else "1.0"),
        Figure(
            f"{name}: p50 of our whole search / p50 of bare FAISS comparing all",
            round(p(ours.took, 0.5) / p(truth.took, 0.5), 2),
            "",
            f"{shown(ours.took)}; FAISS {shown(truth.took)}; {how}; stored in {poured_s:.0f} s,"
            f" index read in {first_s:.2f} s at first, {again_s:.2f} s again",
        ),
        Figure(f"{name}: MB of memory per million", round(size / count), "", "vectors, graph and ids, as counted"),
    ]
    return figures + ([beside_peer(name, count, ours, truth, peer)] if peer is not None else [])


def beside_peer(name: str, count: int, ours: Asked, truth: Asked, peer: Peer) -> Figure:
    theirs, there, took_s = peer.answers, int(peer.filled["count"]), peer.filled["add_s"]
    if there == count:
        how = f"recall@10 {recall(theirs.found, truth.found)}, adding all {took_s:.0f} s (the caller waits)"
    else:
        how = f"with {there:,} of them only, because {took_s / 60:.0f} minutes of adding were its limit"
    return Figure(
        f"{name}: p50 of our whole search / p50 of Chroma's query by vector",
        round(p(ours.took, 0.5) / p(theirs.took, 0.5), 2),
        "<= 1.0" if count >= 10_000 else "",
        f"Chroma {shown(theirs.took)}, {how}, process grew by {peer.filled['bytes'] / there:.0f} MB per million;"
        " not encrypted, ids only",
    )


async def of_users(count: int, queries: np.ndarray, folder: Path) -> list[Figure]:
    """Many users of 1,000: in memory, and each opened anew from the disk."""
    settings = Settings(data_dir=folder, index_bytes=2**40, open_vaults=count)
    keys, users = MemoryKeyring(), [f"usr_{n}" for n in range(count)]
    vaults = Vaults(settings, keys, model="made", dimensions=DIMENSIONS)
    for n, user in enumerate(users):
        await vaults.run(user, lambda vault, n=n: pour(vault, made(EACH, seed=n)))  # type: ignore[misc]
        await vaults.run(user, lambda vault: len(vault.index))
    warm = await asked_across(vaults, users, queries)
    total = sum([await vaults.run(user, lambda vault: vault.index_bytes) for user in users])
    await vaults.close()
    few = Vaults(Settings(data_dir=folder, open_vaults=1), keys, model="made", dimensions=DIMENSIONS)
    cold = await asked_across(few, users, queries)
    await few.close()
    name = f"{count:,} users x {EACH:,} memories"
    return [
        Figure(f"{name}: search in memory, p50 in ms", round(p(warm, 0.5) * 1000, 2), "", shown(warm)),
        Figure(
            f"{name}: search in a vault that must be opened first, p50 in ms",
            round(p(cold, 0.5) * 1000, 2),
            "",
            shown(cold),
        ),
        Figure(f"{name}: MB of memory per million", round(total / count / EACH), "", "every user's index is exact"),
    ]


async def asked_across(vaults: Vaults, users: list[str], queries: np.ndarray) -> list[float]:
    rng, took = np.random.default_rng(3), []
    for at in range(500):
        user, query = users[rng.integers(0, len(users))], queries[at % len(queries)]
        began = time.perf_counter()
        await vaults.run(user, lambda vault, query=query: search(vault, REQUEST, query))  # type: ignore[misc]
        took.append(time.perf_counter() - began)
    return took


async def run(args: argparse.Namespace, figures: list[Figure]) -> None:
    began, queries = time.monotonic(), made(args.queries, seed=1)

    def folder() -> tempfile.TemporaryDirectory[str]:
        return tempfile.TemporaryDirectory(prefix="nemo-bench-", dir=args.folder)

    if args.texts:
        with folder() as path:
            figures += await of_texts(args, Path(path))
    if args.users:
        with folder() as path:
            figures += await of_users(args.users, queries, Path(path))
    for count in sorted(args.sizes):
        if time.monotonic() - began > args.minutes * 60:
            figures.append(
                Figure(f"{count:,} memories of one user", "not run", "", f"{args.minutes} minutes were over")
            )
            continue
        with nullcontext(args.keep / f"v{count}") if args.keep else folder() as path:
            Path(path).mkdir(exist_ok=True)
            figures += await of_size(count, queries, args, Path(path))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=Path)
    parser.add_argument("--memories", type=int, default=10_000)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES, help="memories of one user")
    parser.add_argument("--exact-most", type=int, default=Settings().index_exact_most, help="RAG_INDEX_EXACT_MOST")
    parser.add_argument("--users", type=int, default=100, help="0: none")
    parser.add_argument("--peer", type=Path, help="Python of an environment with chromadb")
    parser.add_argument("--peer-minutes", type=float, default=20, help="after which it is asked with what it has")
    parser.add_argument("--join", type=Path, nargs="*", default=[], help="figures of other runs, put before these")
    parser.add_argument("--keep", type=Path, help="a folder for the vaults of one user, that stay there")
    parser.add_argument("--minutes", type=int, default=60, help="after which no larger vault is begun")
    parser.add_argument("--folder", type=Path, help="where the vaults are made; a million memories take some 5 GB")
    args = parser.parse_args()
    figures = [Figure(**each) for path in args.join for each in json.loads(path.read_text())["figures"]]
    faiss.omp_set_num_threads(1)
    with suppress(KeyboardInterrupt):  # what was measured until then is told
        asyncio.run(run(args, figures))
    tell(figures)


if __name__ == "__main__":
    main()
