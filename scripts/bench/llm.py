#!/usr/bin/env python3
"""The language engine beside llama-cpp-python: its Llama class for one request, its own server for eight at once.

    python scripts/bench/llm.py [--rounds 5] [--tokens 48] [one] [turns] [several] [server]

Weights, threads, batch and prompts are the same on both sides, and the rounds alternate. Every request has a prompt of
its own, so that nobody profits from what was read before, but for the turns of a conversation, where that is the
point. Ours answers the eight through the model's process as the chat service asks it. Needs the runtime that `nemo up`
compiles (`python -m services.cli.language_runtime`) and, for the peer, scripts/bench/requirements-llm.txt.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as the launcher sets it, and before the library is loaded

import httpx
from figures import ROOT, Figure, p, ratio, tell
from llama_cpp import Llama

from services.gemma.engines import Piece, Sampling, Turn
from services.gemma.engines.llama_cpp import BATCH, LlamaCpp
from services.gemma.engines.templates import TEMPLATES
from services.gemma.settings import Settings
from shared.gpu.supervisor import ModelChild

AT_ONCE = 8
PASSAGE = "On day {n} we met at the harbour, talked about ship number {n}, and agreed to paint it before the storm. "
NEW = count()


@dataclass(frozen=True)
class Run:
    """What one side did with one request, or with several at once."""

    first_s: float
    """To the first text, of the last request to get one."""
    per_s: float
    """Tokens: after the first for one request, in all for several."""


def question(passages: int) -> list[Turn]:
    n = next(NEW)
    return [Turn("user", PASSAGE.format(n=n) * passages + "Tell the whole story again in your own words.")]


def greedy(tokens: int) -> Sampling:
    return Sampling(max_tokens=tokens, temperature=0.0)


def rendered(turns: list[Turn]) -> str:
    return "".join(part.text for part in TEMPLATES["chatml"].parts(turns))


def single(pieces: Iterator[Piece]) -> Run:
    began = time.perf_counter()
    first, written = 0.0, 0
    for piece in pieces:
        if piece.written and not first:
            first = time.perf_counter() - began
        written = piece.written
    return Run(first, (written - 1) / (time.perf_counter() - began - first))


def bare(llama: Llama, prompt: list[int], tokens: int) -> Run:
    began = time.perf_counter()
    first, written = 0.0, 0
    for _ in llama.create_completion(
        prompt, max_tokens=tokens, temperature=0.0, top_p=0.95, repeat_penalty=1.1, stream=True
    ):
        first = first or time.perf_counter() - began
        written += 1
    return Run(first, (written - 1) / (time.perf_counter() - began - first))


def one_request(engine: LlamaCpp, settings: Settings, rounds: int, tokens: int) -> list[Figure]:
    llama = Llama(
        model_path=str(settings.models_dir / settings.llm_model),
        n_ctx=settings.context_tokens,
        n_batch=BATCH,
        n_threads=engine.threads[0],
        n_threads_batch=engine.threads[1],
        n_gpu_layers=settings.gpu_layers,
        verbose=False,
    )
    rows = []
    for _ in range(rounds + 1):
        turns = question(12)
        rows.append((single(engine.write(turns, greedy(tokens))), bare(llama, engine._prompt(turns), tokens)))
    llama.close()
    del rows[0]  # the first round warms both
    speed = ratio([ours.per_s for ours, _ in rows], [theirs.per_s for _, theirs in rows])
    first = ratio([theirs.first_s for _, theirs in rows], [ours.first_s for ours, _ in rows])
    written = f"{tokens} tokens; ours {max(ours.per_s for ours, _ in rows):.0f} tokens/s at best"
    read = f"{engine.length(turns)} tokens of prompt"
    return [
        Figure("one request: tokens/s, ours / bare Llama", speed, ">= 0.95", written),
        Figure("one request: time to first token, bare Llama / ours", first, ">= 0.9", read),
    ]


def second_turn(engine: LlamaCpp, rounds: int) -> list[Figure]:
    firsts, seconds = [], []
    for _ in range(rounds):
        turns = question(38)
        length = engine.length(turns)
        told = list(engine.write(turns, greedy(2)))
        turns = [*turns, Turn("assistant", "".join(piece.text for piece in told)), Turn("user", "And then?")]
        again = question(38)
        firsts.append(single(engine.write(again, greedy(2))).first_s)
        seconds.append(single(engine.write(turns, greedy(2))).first_s)
    detail = f"{length} tokens of history, another conversation between the turns"
    return [Figure("time to first token, turn 2 / turn 1", ratio(seconds, firsts), "<= 0.1", detail)]


def several(engine: LlamaCpp, rounds: int, tokens: int) -> list[Figure]:
    """Tokens per second of so many at once, over that of one, once the prompts are read."""
    sizes, rows = (1, 2, 4, 8), []
    with ThreadPoolExecutor(max(sizes)) as threads:
        for _ in range(rounds):
            row = []
            for size in sizes:
                asked = [question(4) for _ in range(size)]
                for turns in asked:
                    list(engine.write(turns, greedy(1)))  # from here on each prompt is known
                began = time.perf_counter()
                told = threads.map(lambda turns: list(engine.write(turns, greedy(tokens)))[-1].written, asked)
                row.append(sum(told) / (time.perf_counter() - began))
            rows.append(row)
    shares = {size: ratio([row[at] for row in rows], [row[0] for row in rows]) for at, size in enumerate(sizes)}
    return [Figure(f"tokens/s of all, {size} at once / 1", share) for size, share in shares.items() if size > 1]


async def ours_at_once(child: ModelChild, asked: list[list[Turn]], tokens: int) -> Run:
    async def one(turns: list[Turn]) -> tuple[float, int]:
        first, written = 0.0, 0
        stream = child.stream(
            "write", turns=[asdict(turn) for turn in turns], sampling=asdict(greedy(tokens)), so_far=""
        )
        async with aclosing(stream) as pieces:
            async for piece in pieces:
                if piece["written"] and not first:
                    first = time.perf_counter() - began
                written = piece["written"]
        return first, written

    began = time.perf_counter()
    found = await asyncio.gather(*map(one, asked))
    return Run(max(first for first, _ in found), sum(written for _, written in found) / (time.perf_counter() - began))


async def theirs_at_once(client: httpx.AsyncClient, asked: list[list[Turn]], tokens: int) -> Run:
    async def one(turns: list[Turn]) -> tuple[float, int]:
        first, written = 0.0, 0
        body = {"prompt": rendered(turns), "max_tokens": tokens, "temperature": 0.0, "top_p": 0.95,
                "repeat_penalty": 1.1, "stream": True, "stop": ["<|im_end|>"]}  # fmt: skip
        async with client.stream("POST", "/v1/completions", json=body) as answer:
            async for line in answer.aiter_lines():
                if line.startswith("data: {") and json.loads(line[6:])["choices"][0]["text"]:
                    first = first or time.perf_counter() - began
                    written += 1
        return first, written

    began = time.perf_counter()
    found = await asyncio.gather(*map(one, asked))
    return Run(max(first for first, _ in found), sum(written for _, written in found) / (time.perf_counter() - began))


def free_port() -> int:
    """Below those that the system hands out, for the peer needs a while until it listens."""
    for _ in range(100):
        port = random.randrange(20_000, 30_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise RuntimeError("no port is free")


@asynccontextmanager
async def peer(settings: Settings, threads: tuple[int, int]) -> AsyncIterator[httpx.AsyncClient]:
    """llama-cpp-python's own server, told not to cut an answer short when the next request comes."""
    port = free_port()
    command = [
        sys.executable, "-m", "llama_cpp.server", "--model", str(settings.models_dir / settings.llm_model),
        "--n_ctx", str(settings.context_tokens), "--n_batch", str(BATCH), "--n_threads", str(threads[0]),
        "--n_threads_batch", str(threads[1]), "--interrupt_requests", "False", "--verbose", "False",
        "--host", "127.0.0.1", "--port", str(port),
    ]  # fmt: skip
    paths = f"{os.environ.get('PYTHONPATH', '')}:{ROOT / 'build' / 'bench-llm'}"
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, stdout=quiet, stderr=quiet, env=os.environ | {"PYTHONPATH": paths})
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=600) as client:
            while True:
                if process.poll() is not None:
                    raise RuntimeError("the peer's server did not start; see scripts/bench/requirements-llm.txt")
                try:
                    (await client.get("/v1/models")).raise_for_status()
                    break
                except httpx.TransportError:
                    await asyncio.sleep(0.2)
            yield client
    finally:
        process.terminate()
        process.wait()


async def at_once(settings: Settings, threads: tuple[int, int], rounds: int, tokens: int) -> list[Figure]:
    child = ModelChild("services.gemma.engines.served:open_language", settings.plain(), name="bench")
    await child.wake()
    rows = []
    try:
        async with peer(settings, threads) as client:
            for _ in range(rounds):
                asked = [question(4) for _ in range(AT_ONCE)]
                ours = await ours_at_once(child, asked, tokens)
                rows.append((ours, await theirs_at_once(client, asked, tokens)))
    finally:
        await child.kill()
    first = ratio([ours.first_s for ours, _ in rows], [theirs.first_s for _, theirs in rows])
    speed = ratio([ours.per_s for ours, _ in rows], [theirs.per_s for _, theirs in rows])
    middle = p([theirs.first_s for _, theirs in rows], 0.5)
    detail = f"{tokens} tokens each; theirs {middle:.1f} s to the first token of the last"
    return [
        Figure(f"{AT_ONCE} at once: time to first token of the last, ours / server", first, "<= 0.5", detail),
        Figure(f"{AT_ONCE} at once: tokens/s of all, ours / server", speed, ">= 1.2", detail),
    ]


PARTS = ("one", "turns", "several", "server")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("parts", nargs="*", default=PARTS, help=f"of {', '.join(PARTS)}; all of them by default")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder), parallel=AT_ONCE)
        engine = LlamaCpp(settings)
        figures = []
        if "one" in args.parts:
            figures += one_request(engine, settings, args.rounds, args.tokens)
        if "turns" in args.parts:
            figures += second_turn(engine, args.rounds)
        if "several" in args.parts:
            figures += several(engine, args.rounds, args.tokens)
        engine.close()
        if "server" in args.parts:
            figures += asyncio.run(at_once(settings, engine.threads, args.rounds, args.tokens))
    measured = " and ".join(map(str, engine.threads))
    tell([*figures, Figure("threads measured, for writing and for reading", measured)])


if __name__ == "__main__":
    main()
