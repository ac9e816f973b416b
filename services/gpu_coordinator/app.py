"""Wiring of the coordinator."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from fastapi import FastAPI

from services.gpu_coordinator import device as devices
from services.gpu_coordinator import routes
from services.gpu_coordinator.arbiter import Arbiter
from services.gpu_coordinator.holders import PostgresHolders
from services.gpu_coordinator.ledger import Limits
from services.gpu_coordinator.repository import PostgresTaskStore, TaskStore
from services.gpu_coordinator.service import Doorbell, Queue, forget_old, hear_replies, listen
from services.gpu_coordinator.settings import Settings
from shared.figures import TASK_CLASSES
from shared.lifecycle import background
from shared.schemas.ids import new_id
from shared.service import create_service
from shared.storage import postgres
from shared.storage.redis import RedisStore, Store
from shared.telemetry import Metrics

NAME = "gpu-coordinator"
HOLDS = ("waking", "resident", "draining", "parking", "fencing", "quarantined")
"""States in which a model's memory is, or may be, taken."""


def limits_of(settings: Settings) -> Limits:
    return Limits(
        lease_s=settings.holder_lease_s,
        park_s=settings.park_s,
        wake_s=settings.wake_s,
        verify_s=settings.verify_s,
        linger_s=settings.linger_s,
        starve_s=settings.starve_s,
        quantum_s=settings.quantum_s,
        rate=settings.swaps_per_minute,
    )


async def figures_of_queue(store: TaskStore, to: Metrics) -> None:
    counts, oldest = await store.counts(), await store.oldest()
    for task_class in TASK_CLASSES:
        to.set("nemo_queue_waiting_tasks", counts.get(task_class, 0), task_class=task_class)
        to.set("nemo_queue_oldest_seconds", oldest.get(task_class, 0), task_class=task_class)
    to.set("nemo_queue_running_tasks", counts.get("running", 0))


async def figures_of_devices(holders: PostgresHolders, to: Metrics) -> None:
    rows = [row for row, _ in await holders.holders()]
    for device in await holders.devices():
        name = device.device_id
        to.set("nemo_gpu_memory_bytes", device.memory_total_bytes, device=name)
        to.set("nemo_gpu_memory_free_bytes", device.memory_free_bytes, device=name)
        reserved = sum(row.reserved for row in rows if row.device_id == name)
        to.set("nemo_gpu_memory_reserved_bytes", reserved, device=name)
        to.set("nemo_gpu_alarm", device.alarm is not None, device=name)
    for row in rows:
        to.set("nemo_gpu_holder_resident", row.observed in HOLDS, holder=row.holder_id)
        to.set("nemo_gpu_holder_failures", row.failures, holder=row.holder_id)
        for what in ("wake", "park"):
            to.expect_all("nemo_gpu_swaps_total", holder=row.holder_id, what=what)


def create_app(
    settings: Settings | None = None, *, tasks: TaskStore | None = None, events: Store | None = None
) -> FastAPI:
    """Without `tasks` and `events` they are PostgreSQL and Redis of the settings."""
    settings = settings or Settings()
    bell = Doorbell()

    @asynccontextmanager
    async def with_given(app: FastAPI) -> AsyncIterator[None]:
        assert tasks is not None and events is not None
        app.state.queue = Queue(tasks, events, bell, settings)
        async with background(app.state.queue.sweep()):
            yield

    @asynccontextmanager
    async def with_postgres(app: FastAPI) -> AsyncIterator[None]:
        pool = await postgres.connect(settings.postgres_dsn(), max_size=10)
        store = RedisStore(settings.redis_dsn())
        await postgres.migrate(pool, NAME, Path(__file__).parent / "migrations")
        app.state.queue = Queue(PostgresTaskStore(pool, settings), store, bell, settings, app.state.metrics)
        app.state.holders = holders = PostgresHolders(
            pool, settings.holder_lease_s, lambda device_id: bell.ring_topic(f"gpu {device_id}")
        )
        app.state.bell, who = bell, new_id("gpu")
        probes = devices.found(settings.devices, settings.node)
        for probe in probes:
            await holders.add_device(probe.device)
        app.state.devices = [probe.device for probe in probes]
        limits = limits_of(settings)
        app.state.limits = limits
        app.state.metrics.watch("queue", partial(figures_of_queue, app.state.queue.store))
        app.state.metrics.watch("devices", partial(figures_of_devices, holders))
        arbiters = [Arbiter(holders, probe, store, bell, limits, who, app.state.metrics) for probe in probes]
        app.state.checks |= {"postgres": lambda: postgres.answers(pool), "redis": store.ping}
        replies = hear_replies(store, bell, holders)
        old = forget_old(app.state.queue.store, holders, settings.keep_days)
        async with background(
            app.state.queue.sweep(), listen(pool, bell), replies, old, *(each.run() for each in arbiters)
        ):
            yield
        await store.close()
        await pool.close()

    lifespan = with_postgres if tasks is None or events is None else with_given
    polled = ("/queue/claim", "/gpu/holders/{holder_id}/sync")
    return create_service(NAME, settings, routers=[routes.router], lifespan=lifespan, unlogged=polled)
