#!/usr/bin/env python3
"""The language engine beside the bare llama-cpp-python: the same prompt, weights and settings, round by round.

    python scripts/bench/chat.py [--rounds 9] [--tokens 128]

Every round has a prompt of its own, so neither side profits from what it read before. Two objects are in memory, one
for each side. Needs the runtime that `nemo up` compiles (`python -m services.cli.language_runtime`).
"""

from __future__ import annotations

import argparse
import os
import time

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as the launcher sets it, and before the library is loaded

from figures import Figure, ratio, tell
from llama_cpp import Llama

from services.gemma.engines import Sampling, Turn
from services.gemma.engines.llama_cpp import BATCH, LlamaCpp
from services.gemma.settings import Settings

PASSAGE = "On day {n} we met at the harbour, talked about ship number {n}, and agreed to paint it before the storm. "


def ours(engine: LlamaCpp, turns: list[Turn], tokens: int) -> tuple[float, float]:
    """Seconds to the first text, tokens per second after it."""
    began = time.perf_counter()
    first = 0.0
    written = 0
    for piece in engine.write(turns, Sampling(max_tokens=tokens, temperature=0.0)):
        if piece.written and not first:
            first = time.perf_counter() - began
        written = piece.written
    return first, (written - 1) / (time.perf_counter() - began - first)


def bare(llama: Llama, prompt: list[int], tokens: int) -> tuple[float, float]:
    began = time.perf_counter()
    first, written = 0.0, 0
    for _ in llama.create_completion(
        prompt, max_tokens=tokens, temperature=0.0, top_p=0.95, repeat_penalty=1.1, stream=True
    ):
        first = first or time.perf_counter() - began
        written += 1
    return first, (written - 1) / (time.perf_counter() - began - first)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--tokens", type=int, default=128)
    args = parser.parse_args()
    settings = Settings()
    engine = LlamaCpp(settings)
    llama = Llama(
        model_path=str(settings.models_dir / settings.llm_model),
        n_ctx=settings.context_tokens,
        n_batch=BATCH,
        n_threads=settings.threads,
        n_threads_batch=settings.threads_batch,
        n_gpu_layers=settings.gpu_layers,
        verbose=False,
    )
    rows = []
    for n in range(args.rounds + 1):
        turns = [Turn("user", PASSAGE.format(n=n) * 12 + "Tell the whole story again in your own words.")]
        prompt = engine._prompt(turns)
        pair = [ours(engine, turns, args.tokens), bare(llama, prompt, args.tokens)]
        rows.append(pair)
    del rows[0]  # the first round warms both
    first = ratio([theirs[0] for _, theirs in rows], [mine[0] for mine, _ in rows])
    speed = ratio([mine[1] for mine, _ in rows], [theirs[1] for _, theirs in rows])
    tell(
        [
            Figure(
                "chat: time to first token, bare / ours",
                first,
                ">= 0.9",
                f"{len(prompt)} tokens of prompt; ours {min(mine[0] for mine, _ in rows) * 1000:.0f} ms at best",
            ),
            Figure(
                "chat: tokens/s, ours / bare",
                speed,
                ">= 0.9",
                f"{args.tokens} tokens; ours {max(mine[1] for mine, _ in rows):.0f} tokens/s at best",
            ),
        ]
    )


if __name__ == "__main__":
    main()
