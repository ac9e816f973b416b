#!/usr/bin/env python3
"""Chroma over the vectors of a file, for scripts/bench/search.py, which makes its environment (chromadb alone).

    build/bench-chroma/bin/python scripts/bench/search_peer.py vectors.npy queries.npy folder seconds

Adds the vectors, for so many seconds at most, and prints as JSON: how many, the seconds, and the bytes that the process
grew by. Then each line read is the number of a query, answered by what it found and the seconds.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import chromadb
import numpy as np

BATCH = 2000


def resident() -> int:
    """Bytes of this process in memory."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


def main() -> None:
    vectors, queries = np.load(sys.argv[1], mmap_mode="r"), np.load(sys.argv[2])
    client = chromadb.PersistentClient(sys.argv[3], chromadb.Settings(anonymized_telemetry=False))
    collection = client.create_collection("memories", configuration={"hnsw": {"space": "ip"}}, embedding_function=None)
    before, began, count = resident(), time.perf_counter(), 0
    for at in range(0, len(vectors), BATCH):
        if time.perf_counter() - began > float(sys.argv[4]):
            break
        batch = np.array(vectors[at : at + BATCH])
        collection.add(ids=[str(at + n) for n in range(len(batch))], embeddings=batch)
        count += len(batch)
    add_s = time.perf_counter() - began
    collection.query(query_embeddings=queries[:1], n_results=10, include=["distances"])
    print(json.dumps({"count": count, "add_s": add_s, "bytes": resident() - before}), flush=True)
    for line in sys.stdin:
        query = queries[int(line)]
        began = time.perf_counter()
        answer = collection.query(query_embeddings=query[None, :], n_results=10, include=["distances"])
        took_s = time.perf_counter() - began
        print(json.dumps({"found": [int(each) for each in answer["ids"][0]], "took_s": took_s}), flush=True)


if __name__ == "__main__":
    main()
