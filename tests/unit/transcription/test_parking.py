"""The real speech model leaves the memory, comes back, and hears the same."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np

from services.transcription.engines.served import Speech
from services.transcription.settings import Settings
from shared.gpu.supervisor import ModelChild
from tests.conftest import AUDIO


async def test_it_hears_the_same_after_it_was_parked(models_dir: Path) -> None:
    with wave.open(str(AUDIO / "librivox-sas-0870.wav")) as file:
        sound = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2").astype(np.float32) / 32768
    child = ModelChild("services.transcription.engines.served:open_speech", Settings(models_dir=models_dir).plain())
    speech = Speech(child)
    assert speech.known is None
    await child.wake()
    assert speech.capabilities.word_timestamps
    before, awake = await speech.transcribe(sound), child.used_bytes()
    assert before.segments and await speech.pauses(np.zeros(32_000, dtype=np.float32)) == [(0.0, 2.0)]
    for _ in range(3):
        await child.park()
        parked = child.used_bytes()
        await child.wake()
        again = await speech.transcribe(sound)
        assert [each.text for each in again.segments] == [each.text for each in before.segments]
    assert parked < awake
    await child.kill()
