"""Wiring of the transcription service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from fastapi import FastAPI

from services.transcription import routes
from services.transcription.engines import BUILTIN, Diarizer, SpeechEngine
from services.transcription.pipeline import Pipeline
from services.transcription.repository import Recordings
from services.transcription.service import TRANSCRIBE, Studio
from services.transcription.settings import Settings
from shared import engines
from shared.clients.emotion import EmotionClient
from shared.clients.gpu_coordinator import CoordinatorClient
from shared.clients.rag import RagClient
from shared.gpu.worker import TaskWorker
from shared.lifecycle import background
from shared.schemas.ids import new_id
from shared.service import create_service
from shared.settings import require_secret
from shared.storage import postgres
from shared.storage.blobs import FileBlobs
from shared.storage.keyring import PostgresKeyring

NAME = "transcription"


def create_app(
    settings: Settings | None = None, *, engine: SpeechEngine | None = None, diarizer: Diarizer | None = None
) -> FastAPI:
    """Without `engine` the one that the settings name is loaded; the databases are those of the settings."""
    settings = settings or Settings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            app.state.studio = studio = await _studio(settings, app, stack, engine, diarizer)
            client = await stack.enter_async_context(CoordinatorClient(settings, app.state.identity))
            worker = TaskWorker(client, {TRANSCRIBE: studio.pipeline.run}, new_id("asr"))
            async with background(worker.run(), studio.submit_orphans()):
                yield

    return create_service(NAME, settings, routers=[routes.router], lifespan=lifespan)


async def _studio(
    settings: Settings, app: FastAPI, stack: AsyncExitStack, engine: SpeechEngine | None, diarizer: Diarizer | None
) -> Studio:
    pool = await postgres.connect(settings.postgres_dsn())
    stack.push_async_callback(pool.close)
    app.state.checks["postgres"] = lambda: postgres.answers(pool)
    await postgres.migrate(pool, NAME, Path(__file__).parent / "migrations")
    keyring = PostgresKeyring(pool, require_secret("RAG_DB_KEY", settings.rag_db_key))
    await keyring.prepare()
    identity = app.state.identity
    coordinator = await stack.enter_async_context(CoordinatorClient(settings, identity))
    rag = await stack.enter_async_context(RagClient(settings, identity))
    emotion = await stack.enter_async_context(EmotionClient(settings, identity))
    recordings, blobs = Recordings(pool, keyring), FileBlobs(settings.data_dir / "blobs")
    speech = engine if engine is not None else await asyncio.to_thread(_engine, settings)
    pipeline = Pipeline(settings, speech, diarizer, recordings, blobs, keyring, emotion, rag)
    return Studio(settings, recordings, blobs, keyring, coordinator, rag, pipeline)


def _engine(settings: Settings) -> SpeechEngine:
    found: SpeechEngine = engines.load("speech", BUILTIN, settings.engine)(settings)
    return found
