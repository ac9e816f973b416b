"""A stream of text that fails half-way says so in its last event."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.transcription.listening import Ask, Part
from services.transcription.routes.listening import _events
from shared.errors import ModelNotReady
from shared.schemas.openai import AudioForm
from shared.schemas.transcription import Segment


class BreaksOff:
    """Hears one piece."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def speech(self, sound: Any, ask: Ask) -> AsyncIterator[Part]:
        segment = Segment(segment_id="seg_1", start_s=0, end_s=1, speaker="", text="Good morning.", confidence=1)
        yield Part([segment], "en")
        raise self.error


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ModelNotReady("The model waits for memory."), "model_not_ready", "The model waits for memory."),
        (RuntimeError("/a/path"), None, "Something went wrong on our side."),
    ],
)
async def test_the_error_is_the_last_event(error: Exception, code: str | None, message: str) -> None:
    ears: Any = BreaksOff(error)
    sound: Any = None
    raw = b"".join([each async for each in _events(ears, sound, AudioForm(model="m", stream=True), Ask())])
    events = [json.loads(line.removeprefix("data: ")) for line in raw.decode().split("\n\n") if line]
    assert events[0] == {"type": "transcript.text.delta", "delta": "Good morning."}
    assert events[-1]["error"] == {"message": message, "type": "server_error", "param": None, "code": code}
    assert len(events) == 2
