"""A tone instead of a voice: as long as the text, and without meaning."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from services.tts.engines import Capabilities, Sound
from shared.schemas.tts import Voice

RATE_HZ = 22_050
TONE_HZ = 440
CHARACTER_S = 0.06


class FakeSpeech:
    """Never a default."""

    def __init__(self, settings: Any) -> None:
        warnings.warn("FakeSpeech whistles instead of speaking; it is for tests only", stacklevel=2)
        voice = Voice(id="tone", name="Tone", language="en-us", engine="fake", sample_rate_hz=RATE_HZ)
        self.capabilities = Capabilities("fake", (voice,))

    def speak(self, sentence: str, voice: str) -> Sound:
        time_s = np.arange(int(RATE_HZ * CHARACTER_S * len(sentence))) / RATE_HZ
        return (8_000 * np.sin(2 * np.pi * TONE_HZ * time_s)).astype(np.int16)

    def close(self) -> None:
        return
