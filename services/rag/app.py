"""Wiring of the memory service."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI

from services.rag.engines import BUILTIN, Embedder
from services.rag.index.pgvector import VectorTable
from services.rag.routes import conversations, edits, memories, transcripts
from services.rag.service import REBUILD, Library
from services.rag.settings import Settings
from services.rag.vaults import THREADS, Vaults
from shared import engines
from shared.clients.gpu_coordinator import CoordinatorClient
from shared.gpu.worker import TaskWorker
from shared.lifecycle import background
from shared.schemas.ids import new_id
from shared.service import create_service
from shared.settings import require_secret
from shared.storage import postgres
from shared.storage.keyring import Keyring, PostgresKeyring

log = logging.getLogger(__name__)

NAME = "rag"


def create_app(
    settings: Settings | None = None,
    *,
    keyring: Keyring | None = None,
    embedder: Embedder | None = None,
    coordinator: CoordinatorClient | None = None,
) -> FastAPI:
    """What is not given is made of the settings: keys in PostgreSQL, the engine by its name."""
    settings = settings or Settings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            ring = keyring if keyring is not None else await stack.enter_async_context(_keyring(settings, app))
            engine = embedder if embedder is not None else await asyncio.to_thread(_embedder, settings)
            facts = engine.capabilities
            table = await stack.enter_async_context(_table(settings)) if settings.index == "pgvector" else None
            vaults = Vaults(settings, ring, model=facts.model, dimensions=facts.dimensions, table=table)
            stack.push_async_callback(vaults.close)
            app.state.library = Library(vaults, engine, settings)
            app.state.coordinator = coordinator
            if coordinator is None:
                await stack.enter_async_context(_worker(settings, app))
            yield

    routers = [memories.router, transcripts.router, edits.router, conversations.router]
    return create_service(NAME, settings, routers=routers, lifespan=lifespan)


def _embedder(settings: Settings) -> Embedder:
    found: Embedder = engines.load("embeddings", BUILTIN, settings.engine)(settings)
    return found


@asynccontextmanager
async def _keyring(settings: Settings, app: FastAPI) -> AsyncIterator[Keyring]:
    pool = await postgres.connect(settings.postgres_dsn())
    ring = PostgresKeyring(pool, require_secret("RAG_DB_KEY", settings.rag_db_key))
    await ring.prepare()
    app.state.checks["postgres"] = lambda: postgres.answers(pool)
    yield ring
    await pool.close()


@asynccontextmanager
async def _table(settings: Settings) -> AsyncIterator[VectorTable]:
    log.warning("RAG_INDEX=pgvector: vectors lie in PostgreSQL without the users' keys; texts can be guessed from them")
    pool = await postgres.connect(settings.postgres_dsn(), max_size=THREADS)
    try:
        table = VectorTable(pool)
        await table.prepare()
        yield table
    finally:
        await pool.close()


@asynccontextmanager
async def _worker(settings: Settings, app: FastAPI) -> AsyncIterator[None]:
    async with CoordinatorClient(settings, app.state.identity) as client:
        app.state.coordinator = client
        worker = TaskWorker(client, {REBUILD: app.state.library.rebuild}, new_id("rag"))
        async with background(worker.run()):
            yield
