"""Wiring of the text to speech service."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from fastapi import FastAPI

from services.tts import routes
from services.tts.engines import BUILTIN, FALL_BACK, SpeechEngine
from services.tts.service import Speaking
from services.tts.settings import Settings
from shared import engines
from shared.errors import ModelNotReady
from shared.lifecycle import background
from shared.security.body import BodyLimit
from shared.service import create_service

log = logging.getLogger(__name__)
NAME = "tts"
BODY_BYTES = 128 * 1024


def create_app(settings: Settings | None = None, *, engine: SpeechEngine | None = None) -> FastAPI:
    """What is not given is made of the settings. Starts without any voice too, and then says so to who asks."""
    settings = settings or Settings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            app.state.speaking = speaking = Speaking(
                settings, partial(find, settings) if engine is None else lambda: engine
            )
            stack.callback(speaking.close)
            await stack.enter_async_context(background(speaking.rest()))
            yield

    app = create_service(NAME, settings, routers=[routes.router], lifespan=lifespan)
    app.add_middleware(BodyLimit, cap=lambda path: BODY_BYTES)
    return app


def find(settings: Settings) -> SpeechEngine:
    """The engine of the settings or the one that stands in for it. Raises ModelNotReady with what each lacks."""
    missing = []
    for name in _order(settings.engine):
        try:
            found: SpeechEngine = engines.load("tts", BUILTIN, name)(settings)
        except ModelNotReady as error:
            missing.append(error.detail)
            continue
        if missing:
            log.warning("another engine speaks: %s", " ".join(missing), extra={"engine": name})
        return found
    raise ModelNotReady(f"No voice is installed. {' '.join(missing)}", retry_after_s=60)


def _order(name: str) -> Iterator[str]:
    yield name
    if name in FALL_BACK:
        yield FALL_BACK[name]
