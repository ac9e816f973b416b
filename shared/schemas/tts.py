"""Text to speech, in the words of OpenAI's API."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from shared.schemas.wire import Request, Wire

SpeechFormat = Literal["mp3", "opus", "flac", "wav", "pcm"]
MAX_CHARS = 4096
"""Longest text of one request, OpenAI's limit."""

Name = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class SpeechRequest(Request):
    """What to say, and how."""

    model: Name = "tts-1"
    """Taken for the clients' sake; every name means the engine that runs here."""
    input: Annotated[str, StringConstraints(min_length=1, max_length=MAX_CHARS)]
    voice: Name = "alloy"
    """An id of `GET /v1/audio/voices`; OpenAI's own names mean the default voice."""
    response_format: SpeechFormat = "mp3"
    """All are mono, 24 kHz; `pcm` is signed 16-bit little-endian without a header, `opus` lies in Ogg."""
    speed: float = Field(default=1.0, ge=0.25, le=4.0)
    """How many times as fast as the voice speaks by itself; the pitch stays."""
    stream_format: Literal["audio", "sse"] = "audio"
    instructions: Annotated[str, StringConstraints(max_length=MAX_CHARS)] | None = None
    """Ignored: these voices take no directions."""


class Voice(Wire):
    """One voice that can be asked for."""

    id: str
    name: str
    language: str
    """A language tag, for example `en-us`."""
    engine: str
    sample_rate_hz: int
    """What it speaks at; answers are 24 kHz whatever this is."""


class VoiceList(Wire):
    """The first one is the default."""

    data: list[Voice]


class SpeechUsage(Wire):
    """No tokens are used here, so all are 0."""

    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0


class SpeechDelta(Wire):
    """One piece of the file, as a server-sent event."""

    type: Literal["speech.audio.delta"] = "speech.audio.delta"
    audio: str
    """Base64."""


class SpeechDone(Wire):
    """The file is complete."""

    type: Literal["speech.audio.done"] = "speech.audio.done"
    usage: SpeechUsage = SpeechUsage()
