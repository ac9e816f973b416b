"""The one language model of this process: loaded when it can be, used by one answer at a time, let go when idle."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from services.gemma.engines import BUILTIN, LanguageEngine, Piece, Sampling, Turn
from services.gemma.settings import Settings
from shared import engines
from shared.errors import ModelNotReady, ProductError

log = logging.getLogger(__name__)
LOOK_AGAIN_S = 5.0
Compose = Callable[[LanguageEngine], Sequence[Turn]]
"""Makes the prompt for an engine, in the engine's thread."""


class ModelLoader:
    """Picks the model up by itself once its package and weights are there."""

    def __init__(self, settings: Settings, engine: LanguageEngine | None = None) -> None:
        """`engine` stands for the one of the settings. Raises Invalid where that has an unknown name."""
        self._settings = settings
        self._kind: type[LanguageEngine] | None = None
        if engine is None:
            self._kind = engines.load("language", BUILTIN, settings.engine)
        self._engine = engine
        self._looked = -LOOK_AGAIN_S
        self._reason: str | None = None
        self._turn = asyncio.Lock()
        self._ahead = 0
        self._idle: asyncio.TimerHandle | None = None
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="language")

    @property
    def ahead(self) -> int:
        """Answers that are being written or wait for it."""
        return self._ahead

    def why_not(self) -> str | None:
        """Why there is no model, for a reader; None where there is one or it can be loaded."""
        if self._engine is not None or self._kind is None:
            return None
        if time.monotonic() - self._looked >= LOOK_AGAIN_S:
            self._looked, self._reason = time.monotonic(), self._kind.missing(self._settings)
        return self._reason

    async def write(
        self, compose: Compose, sampling: Sampling, cancelled: Callable[[], bool]
    ) -> AsyncGenerator[Piece, None]:
        """Pieces as they come, until `cancelled()`. One caller at a time, in order.

        Raises ModelNotReady where there is no model or it fails, and what the engine raises for the prompt.
        """
        self._ahead += 1
        try:
            async with self._turn:
                if not cancelled():
                    async for piece in self._write(compose, sampling, cancelled):
                        yield piece
        finally:
            self._ahead -= 1

    async def _write(
        self, compose: Compose, sampling: Sampling, cancelled: Callable[[], bool]
    ) -> AsyncGenerator[Piece, None]:
        engine = await self._loaded()
        loop, pieces = asyncio.get_running_loop(), asyncio.Queue[Piece | ProductError | None]()
        stop = threading.Event()

        def tell(what: Piece | ProductError | None) -> None:
            loop.call_soon_threadsafe(pieces.put_nowait, what)

        def produce() -> None:
            try:
                for piece in engine.write(compose(engine), sampling):
                    tell(piece)
                    if stop.is_set() or cancelled():
                        break
                tell(None)
            except ProductError as error:
                tell(error)
            except Exception as error:  # carried over to the caller's side
                log.exception("the language model failed", extra={"kind": type(error).__name__})
                tell(ModelNotReady("The language model failed."))

        work = loop.run_in_executor(self._pool, produce)
        try:
            while (piece := await pieces.get()) is not None:
                if isinstance(piece, ProductError):
                    raise piece
                yield piece
        finally:
            stop.set()
            await asyncio.wait({work})
            self._unload_later()

    async def _loaded(self) -> LanguageEngine:
        """Loads on first use; a failure stands for some seconds."""
        if self._idle is not None:
            self._idle.cancel()
        if self._engine is None:
            reason = self.why_not()
            if reason is not None or self._kind is None:
                raise ModelNotReady(reason, retry_after_s=LOOK_AGAIN_S)
            try:
                self._engine = await self._in_thread(self._kind, self._settings)
            except Exception as error:  # a damaged file or a library that is not there
                log.exception("the language model could not be loaded", extra={"kind": type(error).__name__})
                self._looked, self._reason = time.monotonic(), "The language model could not be loaded; see the log."
                raise ModelNotReady(self._reason, retry_after_s=LOOK_AGAIN_S) from error
        return self._engine

    async def _in_thread(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)

    def _unload_later(self) -> None:
        quiet_s = self._settings.idle_unload_s
        if self._kind is not None and quiet_s >= 0:
            self._idle = asyncio.get_running_loop().call_later(quiet_s, self._unload)

    def _unload(self) -> None:
        if not self._turn.locked():
            engine, self._engine = self._engine, None
            if engine is not None:
                self._pool.submit(engine.close)

    async def close(self) -> None:
        """Nothing is written any more when it returns."""
        if self._idle is not None:
            self._idle.cancel()
        engine, self._engine = self._engine, None
        if engine is not None:
            await self._in_thread(engine.close)
        self._pool.shutdown(wait=False)
