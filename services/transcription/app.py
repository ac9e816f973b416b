"""Wiring of the transcription service."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

from fastapi import FastAPI

from services.transcription import routes
from services.transcription.engines import BUILTIN, DIARIZERS, Diarizer, SpeechEngine
from services.transcription.pipeline import Pipeline
from services.transcription.repository import Recordings
from services.transcription.service import TRANSCRIBE, Studio
from services.transcription.settings import Settings
from shared import engines
from shared.clients.emotion import EmotionClient
from shared.clients.gpu_coordinator import CoordinatorClient
from shared.clients.rag import RagClient
from shared.errors import ModelNotReady
from shared.gpu.worker import TaskWorker
from shared.lifecycle import background
from shared.schemas.ids import new_id
from shared.service import create_service
from shared.settings import require_secret
from shared.storage import postgres
from shared.storage.blobs import FileBlobs
from shared.storage.keyring import PostgresKeyring

log = logging.getLogger(__name__)
NAME = "transcription"
LOOK_AGAIN_S = 5.0


def create_app(
    settings: Settings | None = None, *, engine: SpeechEngine | None = None, diarizer: Diarizer | None = None
) -> FastAPI:
    """Without `engine` the one that the settings name is loaded; the databases are those of the settings."""
    settings = settings or Settings()
    kind = engines.load("speech", BUILTIN, settings.engine)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            app.state.studio = studio = await _studio(settings, app, stack)
            client = await stack.enter_async_context(CoordinatorClient(settings, app.state.identity))
            worker = TaskWorker(client, {TRANSCRIBE: studio.pipeline.run}, new_id("asr"), concurrency=settings.parallel)
            apart = partial(_diarizer, settings, diarizer)
            async with background(_work(app, worker, engine, lambda: kind(settings), apart), studio.tidy()):
                yield

    return create_service(NAME, settings, routers=[routes.router], lifespan=lifespan)


async def _studio(settings: Settings, app: FastAPI, stack: AsyncExitStack) -> Studio:
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
    pipeline = Pipeline(settings, None, None, recordings, blobs, keyring, emotion, rag)
    return Studio(settings, recordings, blobs, keyring, coordinator, rag, pipeline)


def _diarizer(settings: Settings, given: Diarizer | None) -> Diarizer | None:
    """None where there is none: a transcript under one speaker, which says so, is better than no transcript."""
    if given is not None or settings.diarizer == "none":
        return given
    try:
        made: Diarizer = engines.load("diarizer", DIARIZERS, settings.diarizer)(settings)
    except ModelNotReady as error:
        log.warning(error.detail)
    except Exception as error:  # whatever a runtime raises over its weights
        log.exception("the speaker model cannot be loaded", extra={"kind": type(error).__name__})
    else:
        return made
    return None


async def _work(
    app: FastAPI,
    worker: TaskWorker,
    engine: SpeechEngine | None,
    make: Callable[[], SpeechEngine],
    apart: Callable[[], Diarizer | None],
) -> None:
    """For ever. Nothing is claimed before there is a model, so that no upload fails for the want of one."""
    pipeline: Pipeline = app.state.studio.pipeline
    app.state.checks["model"] = partial(_model_answers, pipeline)
    while engine is None:
        try:
            engine = await asyncio.to_thread(make)
        except ModelNotReady as error:
            log.error(error.detail)
        except Exception as error:  # whatever a runtime raises over its weights, recordings can still be read
            log.exception("the speech model cannot be loaded", extra={"kind": type(error).__name__})
        if engine is None:
            await asyncio.sleep(LOOK_AGAIN_S)
    pipeline.use(engine, await asyncio.to_thread(apart))
    await worker.run()


async def _model_answers(pipeline: Pipeline) -> str:
    return pipeline.engine.capabilities.model
