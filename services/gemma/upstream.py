"""A language model in another server: nothing is loaded here, no lease is asked for, and nobody waits in turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from services.gemma.engines import Open, Piece, Sampling
from services.gemma.engines.openai_server import OpenAiServer
from services.gemma.model import Compose, Told
from services.gemma.pace import paced
from services.gemma.settings import Settings
from shared.errors import ModelNotReady

LOOK_S = 0.5
"""How soon a cancelled answer is given up while the server is silent."""


class Upstream:
    """To its callers what ModelLoader is."""

    ahead = 0
    """Answers are written side by side; how many, the server decides."""

    def __init__(self, settings: Settings) -> None:
        """Raises Invalid where a setting cannot be meant."""
        self._reason = OpenAiServer.missing(settings)
        self._server = OpenAiServer(settings)

    def why_not(self) -> str | None:
        """Why there is no model, for a reader."""
        return self._reason

    async def write(
        self,
        compose: Compose,
        sampling: Sampling,
        cancelled: Callable[[], bool],
        told: Told,
        *,
        user: str = "",
        position: Callable[[int], None] | None = None,
    ) -> AsyncGenerator[Piece, None]:
        """Pieces as they come, until `cancelled()`. Turns that are not `Open` go only where memories may.

        `told`, `user` and `position` are for models that must be waited for. Raises ModelNotReady, and what `compose`
        and the engine raise.
        """
        if self._reason is not None:
            raise ModelNotReady(self._reason, retry_after_s=30)
        turns = await asyncio.to_thread(compose, self._server)
        private = not isinstance(turns, Open)
        with paced() as pace:
            async with aclosing(self._server.write(turns, sampling, private=private)) as pieces:
                while (piece := await _next(pieces, cancelled)) is not None:
                    pace.heard(piece)
                    yield piece


async def _next(pieces: AsyncGenerator[Piece, None], cancelled: Callable[[], bool]) -> Piece | None:
    """None at the end, and soon after it is cancelled."""
    coming = asyncio.ensure_future(anext(pieces, None))
    try:
        while not cancelled():
            if (await asyncio.wait({coming}, timeout=LOOK_S))[0]:
                return coming.result()
        return None
    finally:
        coming.cancel()
        await asyncio.wait({coming})
