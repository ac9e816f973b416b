#!/usr/bin/env python3
"""Search in a real encrypted vault of many memories, beside exact search by numpy over the same vectors.

    python scripts/bench/search.py --texts ../shared/data/goemotions/ekman-train.tsv [--memories 10000] [--queries 200]

`--texts`: one memory a line, its first column. Queries are lines that are not in the vault.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

import numpy as np
from figures import Figure, p, tell

from services.rag import repository
from services.rag.engines.onnx_minilm import OnnxMiniLM
from services.rag.repository import Chunk
from services.rag.service import Library
from services.rag.settings import Settings
from services.rag.vaults import Vault, Vaults
from shared.schemas.ids import new_id
from shared.schemas.rag import Memory, SearchRequest
from shared.storage.keyring import MemoryKeyring
from shared.storage.sqlcipher import transaction

USER = "usr_bench"


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


async def run(args: argparse.Namespace, folder: Path) -> list[Figure]:
    lines = dict.fromkeys(line.split("\t")[0] for line in args.texts.read_text().splitlines())
    texts = [line for line in lines if len(line) > 20][: args.memories + args.queries]
    texts, queries = texts[: args.memories], texts[args.memories :]
    settings = Settings(data_dir=folder)
    embedder = OnnxMiniLM(settings)
    facts = embedder.capabilities
    vaults = Vaults(settings, MemoryKeyring(), model=facts.model, dimensions=facts.dimensions)
    library = Library(vaults, embedder, settings)
    vectors = await library.embed(texts)
    rows = await library.run(USER, lambda vault: fill(vault, texts, vectors))
    await library.search(USER, SearchRequest(query="warm"))
    took: dict[str, list[float]] = {"hybrid": [], "vector": [], "embedding": [], "exact": []}
    found, wanted = [], []
    for query in queries:
        began = time.perf_counter()
        vector = (await library.embed([query]))[0]
        took["embedding"].append(time.perf_counter() - began)
        began = time.perf_counter()
        scores = vectors @ vector
        best = np.argpartition(-scores, 10)[:10]
        took["exact"].append(time.perf_counter() - began)
        wanted.append({int(each) for each in best})
        for mode in ("hybrid", "vector"):
            request = SearchRequest.model_validate({"query": query, "top_k": 10, "mode": mode})
            began = time.perf_counter()
            hits = await library.search(USER, request)
            took[mode].append(time.perf_counter() - began)
        found.append({rows[hit.metadata.memory_id] for hit in hits})
    recall = float(np.mean([len(a & b) / 10 for a, b in zip(found, wanted, strict=True)]))
    await vaults.close()
    ms = {name: (p(each, 0.5) * 1000, p(each, 0.99) * 1000) for name, each in took.items()}
    return [
        Figure(f"recall@10 against exact search, {len(texts)} memories", round(recall, 4), ">= 0.99"),
        *(
            Figure(
                f"search, {name}: p50 of ours / p50 of embedding the query and exact search by numpy",
                round(ms[name][0] / (ms["embedding"][0] + ms["exact"][0]), 2),
                "",
                f"p50 {ms[name][0]:.1f} ms, p99 {ms[name][1]:.1f} ms; embedding alone {ms['embedding'][0]:.1f} ms,"
                f" numpy alone {ms['exact'][0]:.1f} ms",
            )
            for name in ("hybrid", "vector")
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--memories", type=int, default=10_000)
    parser.add_argument("--queries", type=int, default=200)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nemo-bench-") as folder:
        tell(asyncio.run(run(args, Path(folder))))


if __name__ == "__main__":
    main()
