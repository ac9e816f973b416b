"""What the text to speech service reads."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """Text to speech."""

    model_config = SettingsConfigDict(env_prefix="TTS_")

    engine: str = "piper"
    """Speech engine: piper (extra `tts`; without it espeak speaks), espeak or fake (a tone; for tests only)."""
    voice: str = ""
    """The default voice, by its id. Empty: the engine's first."""
    piper_python: Path | None = None
    """Python that has piper-tts, where it lives in an environment of its own. Empty: the one that runs the service."""
    sentence_deadline_s: float = Field(default=60.0, gt=0)
    """Longest time for one sentence, in seconds, the loading of the voice included."""
    answer_deadline_s: float = Field(default=900.0, gt=0)
    """Longest time for one answer until its reader has it all, in seconds."""
    pause_s: float = Field(default=0.15, ge=0, le=5)
    """Silence between two sentences, in seconds."""
    requests_at_once: int = Field(default=8, ge=1)
    """Requests that are spoken in turns, a sentence each; one more is told to come back."""
    requests_per_user: int = Field(default=3, ge=1)
    """How many of these may be one user's."""
    idle_unload_s: float = Field(default=900.0, ge=-1)
    """Quiet time after which the voice leaves memory, in seconds. 0: at once. -1: never."""
