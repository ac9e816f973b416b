#!/usr/bin/env python3
"""The coordinator's own share of a hand-over: from a request to the grant, with models that load in no time.

    python scripts/bench/gpu_control.py [--rounds 5] [--requests 40] [--requesters 50]

A real coordinator process over an embedded PostgreSQL and Redis; the holders are the product's own, in this process,
around a model that weighs nothing. In the same rounds: a bare Redis publish and answer, and a bare PostgreSQL commit.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
from figures import ROOT, Figure, p, ratio, tell
from servers import server

from services.cli.embedded import EmbeddedPostgres, EmbeddedRedis
from shared.auth.service_tokens import ServiceIdentity, generate_key
from shared.clients.gpu_coordinator import CoordinatorClient
from shared.errors import ProductError
from shared.gpu.holder import Holder
from shared.settings import SERVICE_PORTS, ServiceSettings
from shared.storage.redis import RedisStore

FIT, MUST_TURN = 1_000, 0.6


class Weightless:
    """A model that is there at once."""

    alive = False

    async def wake(self) -> None:
        self.alive = True

    async def park(self) -> None:
        self.alive = False

    async def kill(self) -> None:
        self.alive = False

    def used_bytes(self) -> int:
        return 0


@asynccontextmanager
async def coordinator(folder: Path, postgres: str, redis: str) -> AsyncIterator[ServiceSettings]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for name in SERVICE_PORTS:
        generate_key(folder / "secrets" / "service_keys", name)
    environment = {
        "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "DATA_DIR": str(folder), "DATABASE_URL": postgres,
        "REDIS_URL": redis, "GPU_COORDINATOR_PORT": str(port), "GPU_COORDINATOR_DEVICES": "cpu", "LOG_LEVEL": "WARNING",
        "GPU_COORDINATOR_SWAPS_PER_MINUTE": "100000",
    }  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services", "run", "gpu-coordinator", env=environment, cwd=ROOT
    )
    try:
        yield ServiceSettings(data_dir=folder, GPU_COORDINATOR_URL=f"http://127.0.0.1:{port}", REDIS_URL=redis)
    finally:
        process.terminate()
        await process.wait()


@asynccontextmanager
async def holder(
    settings: ServiceSettings, client: CoordinatorClient, name: str, size: int, idle_s: float
) -> AsyncIterator[Holder]:
    events = RedisStore(settings.redis_dsn())
    made = Holder(name, client, Weightless(), bytes_resident=size, events=events, idle_s=idle_s)
    running = asyncio.create_task(made.run())
    try:
        while made.grant() is None and made._state.row is None:
            await asyncio.sleep(0.05)
        yield made
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await events.close()


async def granted_ms(one: Holder) -> float:
    began = time.perf_counter()
    async with one.use():
        return (time.perf_counter() - began) * 1000


async def redis_ms(store: RedisStore, count: int) -> list[float]:
    """Publish, hear it elsewhere, answer, hear the answer."""
    took: list[float] = []
    async with store.subscribe("bench_ask") as asks, store.subscribe("bench_answer") as answers:

        async def answer() -> None:
            async for _ in asks:
                await store.publish("bench_answer", {})

        answering = asyncio.create_task(answer())
        for _ in range(count):
            began = time.perf_counter()
            await store.publish("bench_ask", {})
            await anext(answers)
            took.append((time.perf_counter() - began) * 1000)
        answering.cancel()
        await asyncio.gather(answering, return_exceptions=True)
    return took


async def commit_ms(connection: Any, count: int) -> list[float]:
    took = []
    for _ in range(count):
        began = time.perf_counter()
        await connection.execute("INSERT INTO bare (body) VALUES ('x')")
        took.append((time.perf_counter() - began) * 1000)
    return took


async def parked(one: Holder) -> None:
    while one.holds:
        await asyncio.sleep(0.01)


async def run(args: argparse.Namespace) -> list[Figure]:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nemo-bench-")))
        postgres = await stack.enter_async_context(server(EmbeddedPostgres, folder))
        redis = await stack.enter_async_context(server(EmbeddedRedis, folder))
        settings = await stack.enter_async_context(coordinator(folder, postgres, redis))
        identity = ServiceIdentity.from_settings("gemma", settings)
        client = await stack.enter_async_context(CoordinatorClient(settings, identity))
        connection = await asyncpg.connect(postgres)
        stack.push_async_callback(connection.close)
        await connection.execute("CREATE TABLE bare (body text)")
        store = RedisStore(redis)
        stack.push_async_callback(store.close)
        await until_up(client)
        return [
            *await in_rounds(args, settings, client, store, connection),
            await crowd(args, settings, client, connection),
        ]


async def until_up(client: CoordinatorClient) -> None:
    while True:
        try:
            await client.gpu_status()
            return
        except ProductError:
            await asyncio.sleep(0.1)


async def in_rounds(args: Any, settings: Any, client: Any, store: Any, connection: Any) -> list[Figure]:
    """Alternating rounds, so that a noisy minute disturbs all alike."""
    device = (await client.gpu_status()).devices[0]
    big = int((device.memory_total_bytes - device.reserve_bytes) * MUST_TURN)
    told: dict[str, list[list[float]]] = {"free": [], "turns": [], "redis": [], "commit": []}
    for number in range(args.rounds):
        async with holder(settings, client, f"gemma-alone-{number}", FIT, 0.0) as alone:
            grants = []
            for _ in range(args.requests):
                grants.append(await granted_ms(alone))
                await parked(alone)
            told["free"].append(grants)
        async with (
            holder(settings, client, f"gemma-left-{number}", big, -1) as left,
            holder(settings, client, f"gemma-right-{number}", big, -1) as right,
        ):
            told["turns"].append([await granted_ms(each) for _ in range(args.requests // 2) for each in (left, right)])
        told["redis"].append(await redis_ms(store, 200))
        told["commit"].append(await commit_ms(connection, 200))
    return [figure for what in ("free", "turns") for figure in compared(what, told)]


NAMES = {
    "free": "request to grant, the memory is free",
    "turns": "request to grant, another model has to leave first",
}


def compared(what: str, told: dict[str, list[list[float]]]) -> list[Figure]:
    ours, every = [statistics.median(each) for each in told[what]], [ms for each in told[what] for ms in each]
    redis, commit = ([statistics.median(each) for each in told[name]] for name in ("redis", "commit"))
    detail = (
        f"p50 {p(every, 0.5):.1f} ms, p99 {p(every, 0.99):.1f} ms beside {statistics.median(redis):.2f} ms for a bare"
        f" Redis round trip and {statistics.median(commit):.2f} ms for a bare commit"
    )
    return [
        Figure(f"{NAMES[what]} / bare Redis publish and answer", ratio(ours, redis), "", detail),
        Figure(f"{NAMES[what]} / bare PostgreSQL commit", ratio(ours, commit), "", detail),
    ]


async def crowd(args: Any, settings: Any, client: Any, connection: Any) -> Figure:
    """Many requesters of some models, all at once, again and again; a model that nobody uses is let go at once."""
    async with AsyncExitStack() as stack:
        models = [
            await stack.enter_async_context(holder(settings, client, f"gemma-crowd-{number}", FIT, 0.0))
            for number in range(args.models)
        ]
        since = await connection.fetchval("SELECT coalesce(max(swap_id), 0) FROM swap_log")

        async def ask(one: Holder) -> list[float]:
            took = []
            for _ in range(20):
                took.append(await granted_ms(one))
                await parked(one)
            return took

        crowd = (ask(models[number % len(models)]) for number in range(args.requesters))
        grants = [ms for each in await asyncio.gather(*crowd) for ms in each]
        rows = await connection.fetch(
            "SELECT received_ms FROM swap_log WHERE swap_id > $1 AND received_ms IS NOT NULL"
            " AND what IN ('wake', 'park')",
            since,
        )
    acks = [row["received_ms"] for row in rows]
    return Figure(
        f"received-ack under {args.requesters} concurrent requesters of {args.models} models, p99 in ms",
        round(p(acks, 0.99), 1),
        "below 100",
        f"p50 {p(acks, 0.5):.1f} ms over {len(acks)} commands; to the grant p50 {p(grants, 0.5):.0f} ms,"
        f" p99 {p(grants, 0.99):.0f} ms",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=40)
    parser.add_argument("--requesters", type=int, default=50)
    parser.add_argument("--models", type=int, default=5)
    tell(asyncio.run(run(parser.parse_args())))


if __name__ == "__main__":
    main()
