"""Wiring of the emotion service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI

from services.emotion import routes
from services.emotion.engines import BUILTIN, EmotionEngine
from services.emotion.service import Feelings
from services.emotion.settings import Settings
from services.emotion.uploads import PCM_BYTES, SPANS_BYTES
from shared import engines
from shared.clients.transcription import TranscriptionClient
from shared.security.body import BodyLimit
from shared.service import create_service

NAME = "emotion"
AROUND_BYTES = 64 * 1024
"""What a multipart body may have beside its file."""
SPEECH_BYTES = 16 * 1024**2
"""The longest texts of the most segments, most characters escaped in JSON, with their metrics."""


def create_app(
    settings: Settings | None = None,
    *,
    engine: EmotionEngine | None = None,
    transcription: TranscriptionClient | None = None,
) -> FastAPI:
    """What is not given is made of the settings. Raises ModelNotReady at start where the weights are missing."""
    settings = settings or Settings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            chosen = engine if engine is not None else await asyncio.to_thread(_engine, settings)
            client = transcription or await _transcription(settings, app, stack)
            app.state.feelings = Feelings(settings, chosen, client)
            stack.callback(app.state.feelings.close)
            yield

    app = create_service(NAME, settings, routers=[routes.router], lifespan=lifespan)
    caps = {"/emotion/measure": PCM_BYTES + SPANS_BYTES + AROUND_BYTES, "/emotion/speech": SPEECH_BYTES}
    app.add_middleware(BodyLimit, cap=lambda path: caps.get(path, settings.max_clip_bytes + AROUND_BYTES))
    return app


def _engine(settings: Settings) -> EmotionEngine:
    found: EmotionEngine = engines.load("emotion", BUILTIN, settings.engine)(settings)
    return found


async def _transcription(settings: Settings, app: FastAPI, stack: AsyncExitStack) -> TranscriptionClient | None:
    """None in a test that gave the service a door but no identity to call others with."""
    if not hasattr(app.state, "identity"):
        return None
    return await stack.enter_async_context(TranscriptionClient(settings, app.state.identity))
