"""A sentence to sound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from shared.schemas.tts import Voice

BUILTIN = {
    "piper": "services.tts.engines.piper:Piper",
    "espeak": "services.tts.engines.espeak:Espeak",
    "fake": "services.tts.engines.fake:FakeSpeech",
}
FALL_BACK = {"piper": "espeak"}
"""Who speaks where an engine or its voice is not installed."""

Sound = NDArray[np.int16]
"""Mono, [n], at the rate of its voice."""


@dataclass(frozen=True)
class Capabilities:
    """What an engine can say."""

    name: str
    voices: tuple[Voice, ...]
    """Never empty; the first is its default."""


class SpeechEngine(Protocol):
    """Blocking, and called by one thread at a time.

    A sentence is one line of printable text as `services.tts.sentences` makes it, without square brackets.
    """

    capabilities: Capabilities

    def __init__(self, settings: Any) -> None:
        """Raises ModelNotReady, with what to do, where it or its voices are not installed."""

    def speak(self, sentence: str, voice: str) -> Sound:
        """Raises ModelLost where its process ends, DeadlineExceeded where it takes too long."""
        ...

    def close(self) -> None:
        """Let go of the memory; the next sentence takes it again."""
        ...
