"""Wiring of the chat service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI

from services.gemma.completions import Completions
from services.gemma.model import ModelLoader, budget_bytes
from services.gemma.routes import chat, completions
from services.gemma.service import Chat
from services.gemma.settings import Settings
from services.gemma.summaries import SUMMARISE, Summaries
from services.gemma.upstream import Upstream
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
            model = await stack.enter_async_context(_model(settings, coordinator))
            app.state.rag, app.state.chat = client, Chat(settings, client, model)
            app.state.completions = Completions(settings, client, model)
            stack.push_async_callback(app.state.completions.stop)
            stack.push_async_callback(app.state.chat.stop)
            app.state.checks["model"] = lambda: _state(model)
            app.state.summaries = Summaries(client, model, coordinator)
            worker = TaskWorker(coordinator, {SUMMARISE: app.state.summaries.work}, new_id("gemma"))
            async with background(worker.run()):
                yield

    routers = [chat.router, chat.recordings, completions.router]
    return create_service(NAME, settings, routers=routers, lifespan=lifespan)


@asynccontextmanager
async def _model(settings: Settings, coordinator: CoordinatorClient) -> AsyncIterator[ModelLoader | Upstream]:
    """In a process of its own, its memory granted by the coordinator; or another server's, which needs neither."""
    if settings.engine == "openai":
        yield Upstream(settings)
        return
    async with AsyncExitStack() as stack:
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
        async with background(holder.run()):
            yield model


def _child(settings: Settings) -> ModelChild:
    measure = gpu_bytes if settings.gpu_layers else resident_bytes
    return ModelChild("services.gemma.engines.served:open_language", settings.plain(), name=NAME, measure=measure)


async def _state(model: ModelLoader | Upstream) -> str:
    """Chat works without a model, so its absence is told, not alarmed about."""
    return "extractive" if model.why_not() else "ok"
