"""Wiring of the emotion service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from services.emotion import routes
from services.emotion.engines import BUILTIN, EmotionEngine
from services.emotion.service import Feelings
from services.emotion.settings import Settings
from shared import engines
from shared.clients.transcription import TranscriptionClient
from shared.service import create_service

NAME = "emotion"


def create_app(
    settings: Settings | None = None,
    *,
    engine: EmotionEngine | None = None,
    transcription: TranscriptionClient | None = None,
) -> FastAPI:
    """What is not given is made of the settings."""
    settings = settings or Settings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        chosen = engine or await asyncio.to_thread(engines.load("emotion", BUILTIN, settings.engine), settings)
        client = transcription
        if client is None and hasattr(app.state, "identity"):
            client = TranscriptionClient(settings, app.state.identity)
        app.state.feelings = Feelings(settings, chosen, client)
        yield
        if client is not None and transcription is None:
            await client.close()

    return create_service(NAME, settings, routers=[routes.router], lifespan=lifespan)
