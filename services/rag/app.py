"""Wiring of the memory service."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI

from services.rag.deliveries import Deliveries
from services.rag.engines import BUILTIN, Embedder
from services.rag.index.pgvector import VectorTable
from services.rag.outbox import Outbox
from services.rag.ownership import Ownership
from services.rag.reading import READ, Reading
from services.rag.retention import Keeper
from services.rag.routes import (
    changes,
    conversations,
    documents,
    edits,
    embeddings,
    facts,
    memories,
    ownership,
    similarities,
    summaries,
    transcripts,
)
from services.rag.service import REBUILD, Library
from services.rag.settings import Settings
from services.rag.tombstones import Tombstones
from services.rag.vaults import THREADS, Vaults
from shared import engines, vault_door
from shared.clients.gpu_coordinator import CoordinatorClient
from shared.clients.transcription import TranscriptionClient
from shared.gpu.worker import TaskWorker
from shared.lifecycle import background
from shared.schemas.ids import new_id
from shared.service import create_service
from shared.storage import postgres
from shared.storage.blobs import FileBlobs
from shared.storage.keyring import Keyring, PostgresKeyring
from shared.vault_door import VaultDoor

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
            able = engine.capabilities
            table = await stack.enter_async_context(_table(settings)) if settings.index == "pgvector" else None
            vaults = Vaults(settings, ring, model=able.model, dimensions=able.dimensions, table=table)
            stack.push_async_callback(vaults.close)
            app.state.library = library = Library(vaults, engine, settings)
            stack.push_async_callback(library.learner.close)
            app.state.coordinator = client = coordinator or CoordinatorClient(settings, app.state.identity)
            app.state.deliveries = made = Deliveries(library, Outbox(settings.data_dir / "vaults", ring))
            stack.push_async_callback(made.stop)
            blobs = FileBlobs(settings.data_dir / "documents")
            app.state.reading = reading = Reading(library, blobs, ring, client, settings)
            tombstones = Tombstones(library, reading)
            await tombstones.apply_all()

            async def opened(user_id: str) -> None:
                await tombstones.apply(user_id)
                await made.take_in(user_id)

            app.state.vault_door = VaultDoor(NAME, ring, opened=opened, closed=vaults.lock, waiting=made.waiting)
            await stack.enter_async_context(background(made.take_in_left()))
            speech = await stack.enter_async_context(TranscriptionClient(settings, app.state.identity))
            shutil.rmtree(settings.data_dir / "imports", ignore_errors=True)  # of imports that were killed
            incoming = FileBlobs(settings.data_dir / "imports")
            app.state.ownership = Ownership(library, blobs, incoming, ring, client, speech, settings)
            app.state.keeper = Keeper(library, app.state.reading, speech, settings.data_dir / "vaults")
            if coordinator is None:
                await stack.enter_async_context(_workers(client, app))
            yield

    routers = [
        memories.router,
        facts.router,
        documents.router,
        ownership.router,
        transcripts.router,
        edits.router,
        conversations.router,
        similarities.router,
        summaries.router,
        embeddings.router,
        changes.router,
        vault_door.router,
    ]
    return create_service(NAME, settings, routers=routers, lifespan=lifespan)


def _embedder(settings: Settings) -> Embedder:
    found: Embedder = engines.load("embeddings", BUILTIN, settings.engine)(settings)
    return found


@asynccontextmanager
async def _keyring(settings: Settings, app: FastAPI) -> AsyncIterator[Keyring]:
    pool = await postgres.connect(settings.postgres_dsn())
    ring = PostgresKeyring(pool, *settings.master_keys())
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
async def _workers(client: CoordinatorClient, app: FastAPI) -> AsyncIterator[None]:
    """One for each kind of work, so that a long rebuild keeps no document waiting."""
    async with client:
        rebuild = TaskWorker(client, {REBUILD: app.state.library.rebuild}, new_id("rag"))
        read = TaskWorker(client, {READ: app.state.reading.read}, new_id("rag"))
        async with background(rebuild.run(), read.run(), app.state.keeper.run()):
            yield
