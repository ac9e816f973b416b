"""Wiring of the chat service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI

from services.gemma import routes
from services.gemma.model import ModelLoader, budget_bytes
from services.gemma.service import Chat
from services.gemma.settings import Settings
from services.gemma.summaries import SUMMARISE, Summaries
from shared.clients.gpu_coordinator import CoordinatorClient
from shared.clients.rag import RagClient
from shared.gpu.holder import Holder
from shared.gpu.supervisor import PARKED_BYTES, ModelChild, gpu_bytes, resident_bytes
from shared.gpu.worker import TaskWorker
from shared.lifecycle import background
from shared.schemas.gpu import DeviceKind
from shared.schemas.ids import new_id
from shared.service import create_service
from shared.storage.redis import RedisStore

NAME = "gemma"


def create_app(settings: Settings | None = None) -> FastAPI:
    """The model is loaded in a process of its own when it is first needed and the coordinator grants the memory."""
    settings = settings or Settings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(RagClient(settings, app.state.identity))
            coordinator = await stack.enter_async_context(CoordinatorClient(settings, app.state.identity))
            events = RedisStore(settings.redis_dsn())
            stack.push_async_callback(events.close)
            child = _child(settings)
            kind: DeviceKind = "cuda" if settings.gpu_layers else "cpu"
            holder = Holder(
                NAME,
                coordinator,
                child,
                bytes_resident=settings.budget_bytes or budget_bytes(settings),
                bytes_parked=PARKED_BYTES[kind],
                device_kind=kind,
                device_id=settings.gpu_device or None,
                events=events,
                idle_s=settings.idle_unload_s,
            )
            model = ModelLoader(settings, holder, child)
            app.state.rag, app.state.chat = client, Chat(settings, client, model)
            app.state.summaries = Summaries(client, model, coordinator)
            worker = TaskWorker(coordinator, {SUMMARISE: app.state.summaries.work}, new_id("gemma"))
            app.state.checks["model"] = lambda: _state(model)
            async with background(holder.run()), background(worker.run()):
                yield
                await app.state.chat.stop()

    return create_service(NAME, settings, routers=[routes.router, routes.recordings], lifespan=lifespan)


def _child(settings: Settings) -> ModelChild:
    measure = gpu_bytes if settings.gpu_layers else resident_bytes
    return ModelChild("services.gemma.engines.served:open_language", settings.plain(), name=NAME, measure=measure)


async def _state(model: ModelLoader) -> str:
    """Chat works without a model, so its absence is told, not alarmed about."""
    return "extractive" if model.why_not() else "ok"
