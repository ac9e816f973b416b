#!/usr/bin/env python3
"""Text to vectors: our engine beside sentence-transformers on the same weights and as many threads, round by round.

    python scripts/bench/embeddings.py --texts ../shared/data/goemotions/ekman-train.tsv --peer PYTHON [--rounds 7]

`--texts`: one text a line, its first column; they are embedded as they are (what somebody says in a turn), and joined
to the length of our passages. `--peer`: the Python of an environment that has sentence-transformers; scripts/bench/run
makes one. Each round embeds the same texts here and there; texts are in the order of their file, as a recording's are.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
from figures import ROOT, Figure, ratio, tell

from services.rag.engines.onnx_minilm import MAX_TOKENS, OnnxMiniLM
from services.rag.passages import chunks_of
from services.rag.settings import Settings

QUERIES = 40
"""Single texts a round."""


class Peer:
    def __init__(self, python: Path, settings: Settings) -> None:
        folder = settings.models_dir / settings.embedding_model
        command = [python, ROOT / "scripts" / "bench" / "embedding_peer.py", folder, settings.threads, MAX_TOKENS]
        self._process = subprocess.Popen(
            list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def embed_s(self, texts: Sequence[str], keep: Path | None = None) -> float:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps({"texts": list(texts), "keep": str(keep) if keep else None}) + "\n")
        self._process.stdin.flush()
        return float(json.loads(self._process.stdout.readline())["s"])

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.communicate()


def ours_s(engine: OnnxMiniLM, texts: Sequence[str]) -> float:
    began = time.perf_counter()
    engine.embed(texts)
    return time.perf_counter() - began


def least_cosine(engine: OnnxMiniLM, peer: Peer, texts: Sequence[str]) -> float:
    with tempfile.TemporaryDirectory(prefix="nemo-bench-") as folder:
        peer.embed_s(texts, Path(folder) / "vectors.npy")
        theirs = np.load(Path(folder) / "vectors.npy")
    return float(np.min(np.sum(engine.embed(texts) * theirs, axis=1)))


def batched(engine: OnnxMiniLM, peer: Peer, what: str, texts: list[str], rounds: int) -> Figure:
    pairs = [(ours_s(engine, texts), peer.embed_s(texts)) for _ in range(rounds)]
    ours, theirs = ([pair[at] for pair in pairs] for at in (0, 1))
    return Figure(
        f"embeddings: {what} in a batch, texts/s, ours / sentence-transformers",
        ratio(theirs, ours),
        ">= 2",
        f"{len(texts)} texts of {statistics.mean(map(len, texts)):.0f} characters; texts/s at best: ours"
        f" {len(texts) / min(ours):.0f}, theirs {len(texts) / min(theirs):.0f}",
    )


def one_by_one(engine: OnnxMiniLM, peer: Peer, queries: list[str], rounds: int) -> Figure:
    ours, theirs = [], []
    for _ in range(rounds):
        for query in queries:
            ours.append(ours_s(engine, [query]))
            theirs.append(peer.embed_s([query]))
    middle = statistics.median(theirs) / statistics.median(ours)
    return Figure(
        "embeddings: one query, latency of sentence-transformers / ours, medians",
        round(middle, 3),
        ">= 2",
        f"p50 ours {statistics.median(ours) * 1000:.1f} ms, theirs {statistics.median(theirs) * 1000:.1f} ms;"
        f" at best {min(ours) * 1000:.1f} and {min(theirs) * 1000:.1f} ms",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--peer", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    settings = Settings()
    lines = [line.split("\t")[0] for line in args.texts.read_text().splitlines()]
    turns = [line for line in lines if len(line) > 20][:256]
    passages = chunks_of("\n".join(lines[1000:2000]), settings.passage_chars)[:64]
    engine = OnnxMiniLM(settings)
    with Peer(args.peer, settings) as peer:
        parity = least_cosine(engine, peer, [*turns, *passages])
        tell(
            [
                Figure(
                    "embeddings: least cosine between ours and sentence-transformers'", round(parity, 7), ">= 0.999"
                ),
                batched(engine, peer, "turns", turns, args.rounds),
                batched(engine, peer, "passages", passages, args.rounds),
                one_by_one(engine, peer, turns[:QUERIES], args.rounds),
            ]
        )


if __name__ == "__main__":
    main()
