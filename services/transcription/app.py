"""Wiring of the transcription service."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.datastructures import State

from services.transcription.calls import Calls
from services.transcription.changes import ChangeLog
from services.transcription.engines import BUILTIN, DIARIZERS, Diarizer, Sound, titanet
from services.transcription.engines.served import Speech
from services.transcription.enrolment import Enrolments
from services.transcription.listening import Listening
from services.transcription.live import Room
from services.transcription.naming import Naming
from services.transcription.partial_uploads import PartialUploads
from services.transcription.pipeline import Pipeline
from services.transcription.repository import Recordings
from services.transcription.routes import calls, changes, edits, listening, live, recordings, sounds, speakers, uploads
from services.transcription.service import TRANSCRIBE, Studio
from services.transcription.settings import Settings
from services.transcription.sounds import Sounds
from services.transcription.speakers import Speakers
from services.transcription.voices import Voices
from shared import engines, vault_door
from shared.clients.emotion import EmotionClient
from shared.clients.gpu_coordinator import CoordinatorClient
from shared.clients.rag import RagClient
from shared.errors import Invalid, ModelNotReady
from shared.gpu.holder import Holder
from shared.gpu.supervisor import PARKED_BYTES, ModelChild, gpu_bytes, resident_bytes
from shared.gpu.worker import TaskWorker
from shared.lifecycle import background
from shared.schemas.gpu import DeviceKind
from shared.schemas.ids import new_id
from shared.service import create_service
from shared.storage import postgres
from shared.storage.blobs import FileBlobs
from shared.storage.journal import Journals
from shared.storage.keyring import PostgresKeyring
from shared.storage.redis import RedisStore
from shared.telemetry import Metrics
from shared.vault_door import VaultDoor

log = logging.getLogger(__name__)
NAME = "transcription"
BACKLOG_S = 10.0
"""At least so long between two readings of all recordings' rows for a scrape."""


def create_app(settings: Settings | None = None, *, diarizer: Diarizer | None = None) -> FastAPI:
    """The speech model lives in a process of its own, which the coordinator grants the memory; databases as set."""
    settings = settings or Settings()
    known = engines.known("speech", BUILTIN)
    if settings.engine not in known:
        raise Invalid(f"There is no speech engine {settings.engine!r}; choose one of {', '.join(sorted(known))}.")

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(CoordinatorClient(settings, app.state.identity))
            events = RedisStore(settings.redis_dsn())
            stack.push_async_callback(events.close)
            child = _child(settings)
            kind: DeviceKind = "cuda" if settings.device == "cuda" else "cpu"
            holder = Holder(
                NAME,
                client,
                child,
                bytes_resident=settings.budget_bytes or budget_bytes(settings),
                kinds=[TRANSCRIBE],
                bytes_parked=PARKED_BYTES[kind],
                device_kind=kind,
                device_id=settings.gpu_device or None,
                events=events,
                warm=True,
            )
            app.state.studio = studio = await _studio(settings, app, stack, Speech(child), holder)
            app.state.calls = Calls(settings, studio)
            app.state.listening = Listening(settings, studio.pipeline.engine, holder, studio.pipeline.voices)
            app.state.checks["model"] = partial(_model_answers, studio.pipeline)
            handlers = {TRANSCRIBE: studio.pipeline.run}
            worker = TaskWorker(client, handlers, new_id("asr"), concurrency=settings.parallel, holder=holder)
            encode = partial(_encoded, studio.pipeline, asyncio.get_running_loop())
            apart = partial(_diarizer, settings, diarizer, encode)
            room: Room = app.state.room
            work = _work(studio.pipeline, worker, apart)
            async with background(holder.run(), work, *tidying(app.state), room.run()):
                yield

    # `/transcription/{id}` would take every other path for an id, so it comes last.
    pages = (live, uploads, changes, speakers, listening, calls, sounds, edits, recordings)
    routers = [vault_door.router, *(each.router for each in pages)]
    return create_service(NAME, settings, routers=routers, lifespan=lifespan)


def tidying(state: State) -> list[Coroutine[Any, Any, None]]:
    """What goes round for ever and does what was left undone."""
    return [state.studio.tidy(), state.room.tidy(), state.partial_uploads.tidy()]


def _child(settings: Settings) -> ModelChild:
    measure = gpu_bytes if settings.device == "cuda" else resident_bytes
    return ModelChild("services.transcription.engines.served:open_speech", settings.plain(), name=NAME, measure=measure)


def budget_bytes(settings: Settings) -> int:
    """What the model is taken to need until it is measured: its weights, its work and its runtime."""
    names = [settings.transcription_model]
    if settings.speaker_encoder == "titanet":
        names.append(settings.titanet_model)
    paths = [settings.models_dir / name for name in names]
    files = [file for path in paths for file in (path.rglob("*") if path.is_dir() else [path])]
    weights = sum(each.stat().st_size for each in files if each.is_file())
    return int(weights * 1.5) + 512 * 1024**2


async def _studio(settings: Settings, app: FastAPI, stack: AsyncExitStack, engine: Speech, holder: Holder) -> Studio:
    pool = await postgres.connect(settings.postgres_dsn())
    stack.push_async_callback(pool.close)
    app.state.checks["postgres"] = lambda: postgres.answers(pool)
    await postgres.migrate(pool, NAME, Path(__file__).parent / "migrations")
    keyring = PostgresKeyring(pool, *settings.master_keys())
    await keyring.prepare()
    identity = app.state.identity
    coordinator = await stack.enter_async_context(CoordinatorClient(settings, identity))
    rag = await stack.enter_async_context(RagClient(settings, identity))
    emotion = await stack.enter_async_context(EmotionClient(settings, identity))
    recordings, blobs = Recordings(pool, keyring), FileBlobs(settings.data_dir / "blobs")
    journals, voices = Journals(settings.data_dir / "blobs"), Voices(Speakers(pool, keyring))
    pipeline = Pipeline(settings, engine, holder, recordings, blobs, keyring, emotion, rag, voices)
    studio = Studio(settings, recordings, blobs, keyring, coordinator, rag, pipeline, journals)
    app.state.metrics.watch("backlog", partial(_backlog, recordings), every_s=BACKLOG_S)
    app.state.change_log = ChangeLog(pool, studio)
    app.state.partial_uploads = PartialUploads(settings, pool, keyring, journals, studio)
    app.state.enrolments = Enrolments(settings, recordings, blobs, keyring, rag, voices)
    app.state.naming = Naming(voices, rag)
    app.state.sounds = Sounds(settings, recordings, blobs, journals, keyring, voices.speakers, coordinator, rag)
    app.state.room = room = Room(settings, studio, pipeline, journals)
    app.state.vault_door = VaultDoor(
        NAME, keyring, opened=studio.unlocked, closed=room.lock, waiting=recordings.waiting
    )
    return studio


async def _backlog(recordings: Recordings, to: Metrics) -> None:
    found = await recordings.backlog()
    to.set("nemo_transcription_backlog_recordings", found.recordings)
    to.set("nemo_transcription_backlog_seconds", found.seconds)
    to.set("nemo_transcription_stored_bytes", found.stored_bytes)


def _encoded(pipeline: Pipeline, loop: asyncio.AbstractEventLoop, sound: Sound) -> Sound:
    """Blocking, in the diarizer's thread: the vector of a voice by the model's own process."""
    return asyncio.run_coroutine_threadsafe(pipeline.encode(sound), loop).result()


def _diarizer(settings: Settings, given: Diarizer | None, encode: Callable[[Sound], Sound]) -> Diarizer | None:
    """None where there is none: a transcript under one speaker, which says so, is better than no transcript."""
    if given is not None or settings.diarizer == "none":
        return given
    try:
        kind = engines.load("diarizer", DIARIZERS, settings.diarizer)
        made: Diarizer = kind(settings)
        if settings.speaker_encoder == "titanet":
            made = kind(settings, encode, titanet.THRESHOLDS)
            made.model = settings.titanet_model  # voices of two encoders have nothing in common
    except ModelNotReady as error:
        log.warning(error.detail)
    except Exception as error:  # whatever a runtime raises over its weights
        log.exception("the speaker model cannot be loaded", extra={"kind": type(error).__name__})
    else:
        return made
    return None


async def _work(pipeline: Pipeline, worker: TaskWorker, apart: Callable[[], Diarizer | None]) -> None:
    """For ever. Nothing is claimed before the speaker model is there or known to be missing."""
    made = await asyncio.to_thread(apart)
    pipeline.use(made)
    await worker.run()


async def _model_answers(pipeline: Pipeline) -> str:
    return pipeline.engine.capabilities.model
