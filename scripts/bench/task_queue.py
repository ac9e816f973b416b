#!/usr/bin/env python3
"""The durable queue beside bare PostgreSQL commits and beside two libraries: submit + claim + finish, one at a time.

    pip install -r scripts/bench/requirements.txt  # the libraries; without them the rest is measured
    python scripts/bench/task_queue.py [--dsn postgresql://...] [--rounds 5] [--seconds 2] [--workers 4]

Without --dsn an embedded PostgreSQL is started for the run and removed after it. Rounds of all kinds alternate, so that
a noisy machine disturbs all alike; figures are medians. A cycle is three durable changes, hence three commits: `ratio`
is 3 x cycles/s over commits/s, and 1.0 would mean that the queue costs nothing beyond its commits.

Beside the libraries each round gives one ratio, ours over the faster of them; the figure is the median of those. The
zombie test asks of each queue whether a worker that froze beyond its lease may finish the job that its successor runs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from figures import ROOT, Figure, ratio, tell
from queue_peers import cycle, missing, queues, zombie
from servers import server

from services.cli.embedded import EmbeddedPostgres
from services.gpu_coordinator.repository import PostgresTaskStore
from services.gpu_coordinator.settings import Settings
from shared.schemas.coordinator import FinishTask, SubmitTask
from shared.storage import postgres

MIGRATIONS = ROOT / "services" / "gpu_coordinator" / "migrations"
DEEP = 10_000
LEASE_S = 30.0
"""What all three wait by default before a silent worker counts as dead."""
ZOMBIE_LEASE_S = 0.5

Turn = Callable[[], Awaitable[None]]


@asynccontextmanager
async def embedded() -> AsyncIterator[str]:
    with tempfile.TemporaryDirectory(prefix="nemo-bench-") as folder:
        async with server(EmbeddedPostgres, Path(folder)) as url:
            yield url


@asynccontextmanager
async def schema(url: str) -> AsyncIterator[tuple[str, postgres.Pool]]:
    """A schema of the run's own, with the queue's tables and one bare table; the URL that leads there, and a pool."""
    name = f"bench_{secrets.token_hex(4)}"
    admin = await postgres.connect(url, max_size=1)
    await admin.execute(f"CREATE SCHEMA {name}")
    sign = "&" if "?" in url else "?"
    inside = f"{url}{sign}options=-csearch_path%3D{name}%20-cjit%3Doff"  # as our own pools have it
    pool = await postgres.connect(inside, min_size=8, max_size=16)
    try:
        await postgres.migrate(pool, "gpu-coordinator", MIGRATIONS)
        await pool.execute("CREATE TABLE bare (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body jsonb)")
        yield inside, pool
    finally:
        await pool.close()
        await admin.execute(f"DROP SCHEMA {name} CASCADE")
        await admin.close()


async def per_second(workers: Sequence[Turn], seconds: float) -> tuple[float, list[float]]:
    """Turns per second over all workers, of which each repeats its own, and how long each turn took."""
    took: list[float] = []
    began = time.perf_counter()

    async def work(turn: Turn) -> None:
        while time.perf_counter() - began < seconds:
            at = time.perf_counter()
            await turn()
            took.append(time.perf_counter() - at)

    await asyncio.gather(*(work(turn) for turn in workers))
    return len(took) / (time.perf_counter() - began), took


def turns(pool: postgres.Pool, store: PostgresTaskStore) -> dict[str, Turn]:
    request = SubmitTask(kind="bench", owner="usr_bench", payload={"recording_id": "rec_01J00000000000000000000000"})
    body = json.dumps(request.payload)

    async def commit() -> None:
        await pool.execute("INSERT INTO bare (body) VALUES ($1::jsonb)", body)

    async def cycle() -> None:
        await store.submit(request)
        task = await store.claim(["bench"], "w/0")
        if task is not None:
            await store.finish(task.task_id, FinishTask(token=task.token, outcome="succeeded", result={"ok": True}))

    return {"commit": commit, "cycle": cycle}


async def fill(pool: postgres.Pool) -> None:
    await pool.execute(
        "INSERT INTO task (task_id, kind, owner, task_class, priority, payload, max_attempts)"
        " SELECT 'job_' || lpad(n::text, 26, '0'), 'bench', 'usr_bench', 'background', -1, '{}', 5"
        " FROM generate_series(1, $1::int) n",
        DEEP,
    )
    await pool.execute("ANALYZE task")


def p(values: list[float], part: float) -> float:
    return round(sorted(values)[int(len(values) * part)] * 1000, 2)


async def measure(pool: postgres.Pool, rounds: int, seconds: float, workers: int) -> dict[str, Any]:
    all_turns = turns(pool, PostgresTaskStore(pool, Settings()))
    rates: dict[str, list[float]] = {name: [] for name in all_turns}
    took: dict[str, list[float]] = {name: [] for name in all_turns}
    for _ in range(rounds):
        for name, turn in all_turns.items():
            rate, each = await per_second([turn] * workers, seconds)
            rates[name].append(rate)
            took[name] += each
    ratios = [3 * cycles / commits for cycles, commits in zip(rates["cycle"], rates["commit"], strict=True)]
    return {
        "workers": workers,
        "commits_per_s": round(statistics.median(rates["commit"])),
        "cycles_per_s": round(statistics.median(rates["cycle"])),
        "ratio": round(statistics.median(ratios), 2),
        "cycle_ms": {"p50": p(took["cycle"], 0.5), "p99": p(took["cycle"], 0.99)},
        "commit_ms": {"p50": p(took["commit"], 0.5), "p99": p(took["commit"], 0.99)},
    }


async def beside(url: str, rounds: int, seconds: float, workers: int) -> dict[str, list[float]]:
    """Cycles per second of ours and of each peer, round by round; who begins a round changes."""
    async with schema(url) as (inside, pool), queues(inside, pool, workers, LEASE_S) as all_queues:
        turns_of = {queue.name: [partial(cycle, queue, worker) for worker in range(workers)] for queue in all_queues}
        rates: dict[str, list[float]] = {name: [] for name in turns_of}
        for each in turns_of.values():  # the first turns prepare statements
            await per_second(each, seconds / 4)
        names = list(turns_of)
        for number in range(rounds):
            first = number % len(names)
            for name in names[first:] + names[:first]:
                rate, _ = await per_second(turns_of[name], seconds)
                rates[name].append(rate)
        return rates


async def zombies(url: str) -> dict[str, tuple[str, str]]:
    """By queue, what became of the frozen worker's finish and of its successor's."""
    async with schema(url) as (inside, pool), queues(inside, pool, 2, ZOMBIE_LEASE_S) as all_queues:
        return {queue.name: await zombie(queue, ZOMBIE_LEASE_S) for queue in all_queues}


async def run(url: str, args: argparse.Namespace) -> list[Figure]:
    async with schema(url) as (_, pool):
        bare = {
            "alone": await measure(pool, args.rounds, args.seconds, 1),
            "together": await measure(pool, args.rounds, args.seconds, args.workers),
        }
        await fill(pool)
        bare[f"alone with {DEEP} waiting"] = await measure(pool, args.rounds, args.seconds, 1)
    figures = [bare_figure(name, each) for name, each in bare.items()]
    for workers in sorted({1, args.workers}):
        rates = await beside(url, args.rounds, args.seconds, workers)
        if len(rates) > 1:
            figures.append(beside_figure(rates, workers, args.seconds))
    figures.append(zombie_figure(await zombies(url)))
    if absent := missing():
        how = "pip install -r scripts/bench/requirements.txt, then run again"
        figures.append(Figure("durable queue: peers not installed", ", ".join(absent), "", how))
    return figures


def bare_figure(name: str, each: dict[str, Any]) -> Figure:
    return Figure(
        f"durable queue, {name}: 3 x (submit + claim + finish)/s / bare commits/s",
        each["ratio"],
        "",
        f"{each['cycles_per_s']} cycles/s beside {each['commits_per_s']} commits/s with"
        f" {each['workers']} worker(s); p50 {each['cycle_ms']['p50']} ms, p99 {each['cycle_ms']['p99']} ms",
    )


def beside_figure(rates: dict[str, list[float]], workers: int, seconds: float) -> Figure:
    ours, *theirs = rates.values()
    fastest = [max(each) for each in zip(*theirs, strict=True)]
    ratios = [a / b for a, b in zip(ours, fastest, strict=True)]
    told = ", ".join(f"{name} {statistics.median(each):.0f}" for name, each in rates.items())
    return Figure(
        f"durable queue, {workers} worker(s), (submit + claim + finish)/s: ours / the fastest peer's",
        ratio(ours, fastest),
        ">= 0.8",
        f"cycles/s: {told}; {len(ours)} interleaved rounds of {seconds:g} s, ratios {min(ratios):.2f} to"
        f" {max(ratios):.2f}",
    )


def zombie_figure(told: dict[str, tuple[str, str]]) -> Figure:
    return Figure(
        "zombie's finish of a job that its successor runs",
        "; ".join(f"{name} {frozen}" for name, (frozen, _) in told.items()),
        "ours refused",
        "accepted: it changed the job's row. The successor's own finish after it: "
        + "; ".join(f"{name} {successor}" for name, (_, successor) in told.items()),
    )


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dsn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--workers", type=int, default=4)
    args = parser.parse_args()
    if args.dsn:
        figures = await run(args.dsn, args)
    else:
        async with embedded() as url:
            figures = await run(url, args)
    tell(figures)


if __name__ == "__main__":
    asyncio.run(main())
