"""Wiring of the chat service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from services.gemma import routes
from services.gemma.engines import LanguageEngine
from services.gemma.model import ModelLoader
from services.gemma.service import Chat
from services.gemma.settings import Settings
from shared.clients.rag import RagClient
from shared.service import create_service

NAME = "gemma"


def create_app(
    settings: Settings | None = None, *, engine: LanguageEngine | None = None, rag: RagClient | None = None
) -> FastAPI:
    """Without `engine` the model of the settings is loaded when it is first needed."""
    settings = settings or Settings()

    model = ModelLoader(settings, engine)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        client = rag or RagClient(settings, app.state.identity)
        app.state.rag, app.state.chat = client, Chat(settings, client, model)
        app.state.checks["model"] = lambda: _state(model)
        yield
        await app.state.chat.stop()
        await client.close()

    return create_service(NAME, settings, routers=[routes.router], lifespan=lifespan)


async def _state(model: ModelLoader) -> str:
    """Chat works without a model, so its absence is told, not alarmed about."""
    return "extractive" if model.why_not() else "ok"
