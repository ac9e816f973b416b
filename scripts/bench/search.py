#!/usr/bin/env python3
"""Search in real encrypted vaults of many memories, beside exact search over the same vectors and a vector store.

    python scripts/bench/search.py --texts ../shared/data/goemotions/ekman-train.tsv [--memories 10000] [--queries 200]
        [--most 100000] [--users 100] [--minutes 60] [--peer build/bench-chroma/bin/python]

`--texts`: one memory a line, its first column; queries are lines that are not in the vault. Then one user with 1,000,
10,000 ... up to `--most` memories (a million takes more than an hour on two cores), and `--users` users with 1,000
each. Their vectors are made: points around 2,000 topics in 96 directions, with noise in all 384.
`--peer`: the Python of an environment that has chromadb; scripts/bench/run makes one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
from shared.schemas.ids import new_id
from shared.schemas.rag import Memory, SearchHit, SearchRequest
from shared.storage.keyring import MemoryKeyring
from shared.storage.sqlcipher import transaction

USER = "usr_bench"
SIZES = (1_000, 10_000, 100_000, 1_000_000)
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
    at = repository.now()
    for first in range(0, len(vectors), BATCH):
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


def asked(vault: Vault, queries: np.ndarray) -> Asked:
    """Our whole search, but for the embedding: filters, index, full vectors, rows, records."""
    answers = Asked()
    search(vault, REQUEST, queries[0])
    for query in queries:
        hits = timed(lambda query=query: search(vault, REQUEST, query), answers.took)  # type: ignore[misc]
        answers.found.append({int(hit.metadata.memory_id.removeprefix("mem_")) for hit in hits})
    return answers


def bare(vectors: np.ndarray, queries: np.ndarray) -> Asked:
    """FAISS comparing all, in memory, in the clear: the truth, and the time to beat."""
    index, answers = faiss.IndexFlatIP(DIMENSIONS), Asked()
    index.add(vectors)
    index.search(queries[:1], 10)
    for query in queries:
        ids = timed(lambda query=query: index.search(query[None, :], 10)[1][0], answers.took)  # type: ignore[misc]
        answers.found.append({int(each) for each in ids})
    return answers


async def tended(vaults: Vaults, vectors: np.ndarray) -> list[float]:
    """Seconds of searches while the graph is built."""
    took: list[float] = []
    while await vaults.run(USER, lambda vault: vault.tended or vault.kept.due):
        began = time.perf_counter()
        await vaults.run(USER, lambda vault: search(vault, REQUEST, vectors[0]))
        took.append(time.perf_counter() - began)
        await asyncio.sleep(1)
    return took


async def of_size(count: int, queries: np.ndarray, args: argparse.Namespace, folder: Path) -> list[Figure]:
    vectors = made(count, seed=count)
    truth = bare(vectors, queries)
    settings = Settings(data_dir=folder, index_bytes=2**40, index_exact_most=args.exact_most)
    vaults = Vaults(settings, MemoryKeyring(), model="made", dimensions=DIMENSIONS)
    await vaults.run(USER, lambda vault: pour(vault, vectors))
    began = time.perf_counter()
    await vaults.run(USER, lambda vault: len(vault.index))
    first_s = time.perf_counter() - began
    meanwhile, built_s = await tended(vaults, queries), time.perf_counter() - began
    ours = await vaults.run(USER, lambda vault: asked(vault, queries))
    size, graph = await vaults.run(USER, lambda vault: (vault.index.bytes, isinstance(vault.index, GraphIndex)))
    await vaults.run(USER, Vault.forget_index)
    began = time.perf_counter()
    await vaults.run(USER, lambda vault: len(vault.index))
    again_s = time.perf_counter() - began
    await vaults.close()
    name = f"{count:,} memories of one user"
    how = f"graph, built beside in {built_s:.0f} s with searches {shown(meanwhile)} meanwhile" if meanwhile else "exact"
    figures = [
        Figure(f"{name}: recall@10", recall(ours.found, truth.found), ">= 0.98" if graph else "1.0"),
        Figure(
            f"{name}: p50 of our whole search / p50 of bare FAISS comparing all",
            round(p(ours.took, 0.5) / p(truth.took, 0.5), 2),
            "",
            f"{shown(ours.took)}; FAISS {shown(truth.took)}; {how};"
            f" read in {first_s:.2f} s at first, {again_s:.2f} s again",
        ),
        Figure(f"{name}: MB of memory per million", round(size / count), "", "vectors, graph and ids, as counted"),
    ]
    return figures + (beside_peer(name, vectors, queries, ours, truth, args.peer) if args.peer else [])


def beside_peer(
    name: str, vectors: np.ndarray, queries: np.ndarray, ours: Asked, truth: Asked, python: Path
) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="nemo-bench-peer-") as folder:
        paths = [f"{folder}/vectors.npy", f"{folder}/queries.npy"]
        np.save(paths[0], vectors)
        np.save(paths[1], queries)
        command = [str(python), str(Path(__file__).with_name("search_peer.py")), *paths, f"{folder}/chroma"]
        told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    theirs = recall([set(each) for each in told["found"]], truth.found)
    return [
        Figure(
            f"{name}: p50 of our whole search / p50 of Chroma's query by vector",
            round(p(ours.took, 0.5) / p(told["took_s"], 0.5), 2),
            "",
            f"Chroma {shown(told['took_s'])}, recall@10 {theirs}, adding all {told['add_s']:.0f} s (the caller waits),"
            f" process grew by {told['bytes'] / len(vectors):.0f} MB per million; not encrypted, ids only",
        )
    ]


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

    with folder() as path:
        figures += await of_texts(args, Path(path))
    if args.users:
        with folder() as path:
            figures += await of_users(args.users, queries, Path(path))
    for count in sorted({*args.also, *(size for size in SIZES if size <= args.most)}):
        if time.monotonic() - began > args.minutes * 60:
            figures.append(
                Figure(f"{count:,} memories of one user", "not run", "", f"{args.minutes} minutes were over")
            )
            continue
        with folder() as path:
            figures += await of_size(count, queries, args, Path(path))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--memories", type=int, default=10_000)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--most", type=int, default=100_000, help="memories of the largest vault")
    parser.add_argument("--also", type=int, nargs="*", default=[], help="vaults of other sizes")
    parser.add_argument("--exact-most", type=int, default=Settings().index_exact_most, help="RAG_INDEX_EXACT_MOST")
    parser.add_argument("--users", type=int, default=100, help="0: none")
    parser.add_argument("--peer", type=Path, help="Python of an environment with chromadb")
    parser.add_argument("--minutes", type=int, default=60, help="after which no larger vault is begun")
    parser.add_argument("--folder", type=Path, help="where the vaults are made; a million memories take some 5 GB")
    figures: list[Figure] = []
    with suppress(KeyboardInterrupt):  # what was measured until then is told
        asyncio.run(run(parser.parse_args(), figures))
    tell(figures)


if __name__ == "__main__":
    main()
