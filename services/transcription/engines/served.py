"""The speech model on both sides of its process: what the child offers, and how the service asks for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from services.transcription.engines import BUILTIN, Capabilities, Heard, Sound, SpeechEngine
from shared import engines
from shared.errors import ModelNotReady
from shared.gpu.supervisor import ModelChild

_HEARD = TypeAdapter(Heard)
_CAPABILITIES = TypeAdapter(Capabilities)


def open_speech(settings: Any) -> dict[str, Any]:
    """In the child: loads the engine of the settings."""
    settings.models_dir, settings.data_dir = Path(settings.models_dir), Path(settings.data_dir)
    engine: SpeechEngine = engines.load("speech", BUILTIN, settings.engine)(settings)
    calls = {
        "facts": lambda: engine.capabilities,
        "transcribe": engine.transcribe,
        "guess": engine.guess,
        "pauses": engine.pauses,
    }
    parks = {name: getattr(engine, name) for name in ("park", "wake") if hasattr(engine, name)}
    return calls | parks


class Speech:
    """The model as the service has it. Raises ModelLost where its process ends over a call."""

    def __init__(self, child: ModelChild) -> None:
        self._child = child

    @property
    def known(self) -> Capabilities | None:
        """What it can do; None before it was loaded for the first time."""
        return None if self._child.facts is None else _CAPABILITIES.validate_python(self._child.facts)

    @property
    def capabilities(self) -> Capabilities:
        """Raises ModelNotReady before it was loaded for the first time."""
        if (known := self.known) is None:
            raise ModelNotReady("The speech model is not there; what is uploaded meanwhile waits for it.")
        return known

    async def transcribe(
        self, sound: Sound, *, language: str | None = None, hotwords: str | None = None, translate: bool = False
    ) -> Heard:
        """`translate` only where the capabilities say so."""
        more = {"translate": True} if translate else {}
        asked = self._child.call("transcribe", samples=("sound", sound), language=language, hotwords=hotwords, **more)
        return _HEARD.validate_python(await asked)

    async def guess(self, sound: Sound, *, language: str | None = None) -> str:
        return str(await self._child.call("guess", samples=("sound", sound), language=language))

    async def pauses(self, sound: Sound) -> list[tuple[float, float]]:
        return [(start, end) for start, end in await self._child.call("pauses", samples=("sound", sound))]
