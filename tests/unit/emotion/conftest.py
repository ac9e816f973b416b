"""The emotion service in this process, and sounds made of numbers."""

from __future__ import annotations

import io
import wave
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import asynccontextmanager

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from numpy.typing import NDArray

from services.emotion.app import create_app
from services.emotion.engines.onnx_minilm import OnnxMiniLM
from services.emotion.settings import Settings
from shared.auth.principal import Principal
from shared.auth.service_tokens import trust_for_tests
from shared.errors import ProductError
from shared.schemas.transcription import ClipTranscript, Segment

USER = "usr_01J00000000000000000000000"


def tone(hz: float, seconds: float, level: float = 0.1) -> NDArray[np.float32]:
    """A voice of five harmonics at 16 kHz."""
    time_s = np.arange(int(16_000 * seconds)) / 16_000
    voice = sum(np.sin(2 * np.pi * hz * k * time_s) / k for k in range(1, 6))
    return (level * np.asarray(voice)).astype(np.float32)


def silence(seconds: float) -> NDArray[np.float32]:
    return np.zeros(int(16_000 * seconds), dtype=np.float32)


def wav(sound: NDArray[np.float32], rate_hz: int = 16_000) -> bytes:
    into = io.BytesIO()
    with wave.open(into, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes((sound * 32767).astype("<i2").tobytes())
    return into.getvalue()


class Heard:
    """A transcription service that hears what it was told to hear, or fails as it was told to fail."""

    def __init__(self) -> None:
        self.segments: list[Segment] = []
        self.error: ProductError | None = None
        self.asked: list[tuple[Principal | None, int]] = []

    def say(self, *texts: str) -> None:
        self.segments = [
            Segment(segment_id=f"seg_{at}", start_s=at, end_s=at + 1, speaker="SPEAKER_00", text=text, confidence=0.9)
            for at, text in enumerate(texts)
        ]

    async def clip(self, user: Principal | None, data: bytes) -> ClipTranscript:
        self.asked.append((user, len(data)))
        if self.error:
            raise self.error
        text = " ".join(each.text for each in self.segments)
        return ClipTranscript(text=text, language="en", duration_s=1, segments=self.segments, model="told")


class Signed(httpx.Auth):
    """A fresh service token for every call: each is good for one."""

    def __init__(self, headers: Callable[..., dict[str, str]]) -> None:
        self._headers = headers

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers.update(self._headers(user_id=USER))
        yield request


@pytest.fixture(scope="session")
def minilm() -> OnnxMiniLM:
    """The weights of the repository."""
    return OnnxMiniLM(Settings())


@pytest.fixture
def heard() -> Heard:
    return Heard()


@asynccontextmanager
async def serving(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client whose calls are those of the gateway for one user."""
    auth = Signed(trust_for_tests(app))
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://emotion", auth=auth) as client:
            yield client


@pytest.fixture
async def service(minilm: OnnxMiniLM, heard: Heard) -> AsyncIterator[httpx.AsyncClient]:
    """The service with the real model; clips of at most 3 s and 200,000 bytes."""
    settings = Settings(max_clip_s=3, max_clip_bytes=200_000)
    app = create_app(settings, engine=minilm, transcription=heard)  # type: ignore[arg-type]
    async with serving(app) as client:
        yield client
