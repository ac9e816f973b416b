"""Wiring of the coordinator."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI

from services.gpu_coordinator import routes
from services.gpu_coordinator.device import host_device, register
from services.gpu_coordinator.repository import PostgresTaskStore, TaskStore
from services.gpu_coordinator.service import Doorbell, Queue, listen
from services.gpu_coordinator.settings import Settings
from shared.lifecycle import background
from shared.service import create_service
from shared.storage import postgres
from shared.storage.redis import RedisStore, Store

NAME = "gpu-coordinator"


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
        await register(pool, host_device())
        app.state.queue = Queue(PostgresTaskStore(pool, settings), store, bell, settings)
        app.state.checks |= {"postgres": lambda: postgres.answers(pool), "redis": store.ping}
        async with background(app.state.queue.sweep(), listen(pool, bell)):
            yield
        await store.close()
        await pool.close()

    lifespan = with_postgres if tasks is None or events is None else with_given
    return create_service(NAME, settings, routers=[routes.router], lifespan=lifespan)
