"""Invents its text: one word a second of sound that is not silent."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from services.transcription.engines import Capabilities, Heard, Sound, require_language, require_sound
from shared.schemas.ids import new_id
from shared.schemas.transcription import Segment, Word

RATE_HZ = 16_000


class FakeSpeech:
    """Repeatable, fast and untrue. Never a default."""

    def __init__(self, settings: Any) -> None:
        warnings.warn("FakeSpeech invents its transcripts; it is for tests only", stacklevel=2)
        self.capabilities = Capabilities("fake", frozenset({"en"}), word_timestamps=True)

    def transcribe(self, sound: Sound, *, language: str | None = None, hotwords: str | None = None) -> Heard:
        require_sound(sound)
        require_language(self.capabilities, language)
        seconds = int(len(sound) / RATE_HZ)
        words = [
            Word(word=f"word{at}", start_s=at, end_s=at + 0.8, confidence=0.9)
            for at in range(seconds)
            if np.abs(sound[at * RATE_HZ : (at + 1) * RATE_HZ]).max() > 0.01
        ]
        if not words:
            return Heard([], "en")
        text = " ".join(word.word for word in words)
        segment = Segment(
            segment_id=new_id("seg"),
            start_s=words[0].start_s,
            end_s=words[-1].end_s,
            speaker="SPEAKER_00",
            text=text,
            confidence=0.9,
            words=words,
        )
        return Heard([segment], "en")

    def utterance(self, sound: Sound, *, language: str | None = None, hotwords: str | None = None) -> Heard:
        return self.transcribe(sound, language=language, hotwords=hotwords)

    def guess(self, sound: Sound, *, language: str | None = None) -> str:
        return " ".join(each.text for each in self.transcribe(sound).segments)

    def pauses(self, sound: Sound) -> list[tuple[float, float]]:
        return []
