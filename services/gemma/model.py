"""The one language model of this process: loaded when it can be, used by one answer at a time."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from services.gemma.engines import BUILTIN, LanguageEngine, Sampling, Turn
from services.gemma.settings import Settings
from shared import engines
from shared.errors import ModelNotReady

LOOK_AGAIN_S = 5.0


class ModelLoader:
    """Picks the model up by itself once its package and weights are there."""

    def __init__(self, settings: Settings, engine: LanguageEngine | None = None) -> None:
        self._settings = settings
        self._engine = engine
        self._looked = 0.0
        self._reason: str | None = None
        self._loading = asyncio.Lock()
        self._turn = asyncio.Lock()
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="language")

    def why_not(self) -> str | None:
        """Why there is no model, for a reader; None where there is one."""
        if self._engine is not None:
            return None
        if self._reason is None or time.monotonic() - self._looked > LOOK_AGAIN_S:
            self._looked = time.monotonic()
            self._reason = self._find_out()
        return self._reason or None

    def _find_out(self) -> str:
        if self._settings.engine != "llama_cpp":
            return ""
        if not (self._settings.models_dir / self._settings.llm_model).is_file():
            return "The weights of the language model are missing; run `nemo models pull`. This answer is quoted."
        importlib.invalidate_caches()
        if importlib.util.find_spec("llama_cpp") is None:
            return f"The language model is not ready: {self._build_state()} Until then answers are quoted."
        return ""

    def _build_state(self) -> str:
        try:
            state = json.loads((self._settings.data_dir / "llama-build.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return "its runtime is not installed; `nemo up` builds it."
        if state.get("state") == "failed":
            return f"building its runtime failed ({state.get('detail')}); see `nemo doctor`."
        return f"its runtime is being built, {state.get('percent', 0):.0f} % done."

    async def engine(self) -> LanguageEngine:
        """Loads on first use. Raises ModelNotReady."""
        async with self._loading:
            engine = self._engine
            if engine is None:
                loop = asyncio.get_running_loop()
                kind = engines.load("language", BUILTIN, self._settings.engine)
                made: LanguageEngine = await loop.run_in_executor(self._pool, kind, self._settings)
                self._engine = engine = made
            return engine

    async def write(
        self, turns: Sequence[Turn], sampling: Sampling, cancelled: Callable[[], bool]
    ) -> AsyncIterator[str]:
        """Pieces as they come; stops at the next piece once `cancelled()`. One caller at a time, in order."""
        engine = await self.engine()
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[str | BaseException | None] = asyncio.Queue()

        def produce() -> None:
            try:
                for piece in engine.write(turns, sampling):
                    loop.call_soon_threadsafe(pieces.put_nowait, piece)
                    if cancelled():
                        break
                loop.call_soon_threadsafe(pieces.put_nowait, None)
            except Exception as error:  # carried over to the caller's side
                loop.call_soon_threadsafe(pieces.put_nowait, error)

        async with self._turn:
            work = loop.run_in_executor(self._pool, produce)
            while (piece := await pieces.get()) is not None:
                if isinstance(piece, ModelNotReady):
                    raise piece
                if isinstance(piece, BaseException):
                    raise ModelNotReady("The language model failed.") from piece
                yield piece
            await work
