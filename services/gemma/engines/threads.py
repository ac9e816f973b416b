"""How many threads the model computes with: measured, for more of them are slower where the cores are shared.

A few tokens are computed with each candidate, in rounds that alternate so that a noisy second disturbs all alike. The
result is kept in the data folder per processor, number of cores and weights.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from services.gemma.engines.llama_context import Context

ROUNDS = 3
PROMPT, TOKENS = 32, 4
"""Read and written per candidate and round; few, because somebody waits for the model meanwhile."""
MOST_S = 3.0
"""Seconds after which nothing more is measured. Who has not tried all by then learns nothing from it."""
GAIN = 1.1
"""More threads must be so much faster to be chosen: the cores are wanted by others too."""
FILE = "llm-threads.json"


def candidates(cores: int) -> list[int]:
    """1, 2, 4, ... and all cores, at most 64."""
    return sorted({1, min(cores, 64)} | {2**n for n in range(1, 7) if 2**n <= cores})


def chosen(times: Sequence[tuple[int, float]]) -> int:
    """Of (threads, seconds), fewest first: the fewest that no larger number beats by GAIN."""
    best, best_s = times[0]
    for threads, seconds in times[1:]:
        if seconds * GAIN < best_s:
            best, best_s = threads, seconds
    return best


def guessed(cores: int) -> tuple[int, int]:
    """For writing and for reading prompts, where the machine is too busy or the model too large to measure."""
    return max(1, cores // 2), cores


def settle(context: Context, weights: Path, data_dir: Path, threads: int, threads_batch: int) -> tuple[int, int]:
    """Threads for writing and for reading prompts; a number of the settings that is not 0 stays. Empties the cells."""
    found = (threads, threads_batch)
    if not all(found):
        known = _known(data_dir / FILE).get(_key(weights))
        if known is None and (known := _measured(context)) is not None:
            _keep(data_dir / FILE, _key(weights), known)
        known = known or guessed(len(os.sched_getaffinity(0)))
        found = (threads or known[0], threads_batch or known[1])
    context.set_threads(*found)
    return found


def _measured(context: Context) -> tuple[int, int] | None:
    """None where the machine is too busy to measure anything."""
    able = candidates(len(os.sched_getaffinity(0)))
    writing: dict[int, float] = {}
    reading: dict[int, float] = {}
    began = time.perf_counter()
    _timed(context, able[0])  # the first step takes its memory
    for threads in able * ROUNDS:
        if time.perf_counter() - began > MOST_S:
            break
        one, many = _timed(context, threads)
        writing[threads] = min(one, writing.get(threads, one))
        reading[threads] = min(many, reading.get(threads, many))
    if len(writing) < len(able):
        return None
    return chosen(sorted(writing.items())), chosen(sorted(reading.items()))


def _timed(context: Context, threads: int) -> tuple[float, float]:
    """Seconds to write TOKENS tokens one by one, and to read a prompt of PROMPT."""
    context.set_threads(threads, threads)
    context.clear()
    began = time.perf_counter()
    _step(context, 0, [1] * PROMPT)
    read = time.perf_counter()
    for n in range(TOKENS):
        _step(context, PROMPT + n, [1])
    written = time.perf_counter()
    context.clear()
    return written - read, read - began


def _step(context: Context, first: int, tokens: Sequence[int]) -> None:
    context.clear_batch()
    row = context.add(0, first, tokens, answered=True)
    context.decode()
    context.logits(row)  # waits for it


def _key(weights: Path) -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "")
    return f"{cpu}, {len(os.sched_getaffinity(0))} cores, {weights.name}, {weights.stat().st_size} bytes"


def _known(path: Path) -> dict[str, tuple[int, int]]:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return {str(key): (int(one), int(many)) for key, (one, many) in told.items() if min(one, many) > 0}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _keep(path: Path, key: str, found: tuple[int, int]) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}")
    with suppress(OSError):  # measured again next time
        part.write_text(json.dumps(_known(path) | {key: found}), encoding="utf-8")
        part.replace(path)
