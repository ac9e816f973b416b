"""The language model on both sides of its process: what the child offers, and how the service asks for it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from services.gemma.engines import BUILTIN, Capabilities, LanguageEngine, Sampling, Turn
from shared import engines
from shared.gpu.beside import Beside
from shared.gpu.supervisor import ModelChild

ASK_S = 30.0


def open_language(settings: Any) -> dict[str, Any]:
    """In the child: loads the engine of the settings."""
    settings.models_dir, settings.data_dir = Path(settings.models_dir), Path(settings.data_dir)
    engine: LanguageEngine = engines.load("language", BUILTIN, settings.engine)(settings)

    def write(turns: list[dict[str, Any]], sampling: dict[str, Any], so_far: str) -> Beside:
        asked = Sampling(**sampling | {"stop": tuple(sampling["stop"])})
        return Beside(engine.write([Turn(**each) for each in turns], asked, so_far))

    def length(turns: list[dict[str, Any]]) -> int:
        return engine.length([Turn(**each) for each in turns])

    return {"facts": lambda: engine.capabilities, "length": length, "write": write, "close": engine.close}


class Rulers:
    """What a prompt is cut to, asked of the child from a thread of the service."""

    def __init__(self, child: ModelChild, loop: asyncio.AbstractEventLoop) -> None:
        self._child, self._loop = child, loop
        self.capabilities = Capabilities(**child.facts)

    def length(self, turns: Sequence[Turn]) -> int:
        """Tokens of the whole prompt. Blocking. Raises ModelLost."""
        asked = self._child.call("length", turns=[asdict(each) for each in turns])
        found: int = asyncio.run_coroutine_threadsafe(asked, self._loop).result(ASK_S)
        return found
