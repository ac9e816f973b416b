"""Engines as they are installed here, the service in this process, and what hears its answers."""

from __future__ import annotations

import io
import warnings
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import av
import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from services.tts.app import create_app
from services.tts.engines import BUILTIN, SpeechEngine
from services.tts.settings import Settings
from shared import engines
from shared.auth.service_tokens import trust_for_tests
from shared.errors import ModelNotReady

USER = "usr_01J00000000000000000000000"
OTHER = "usr_01J00000000000000000000001"


def made(name: str, **changes: Any) -> SpeechEngine:
    """An engine that really is here; skips the test where it is not, and says why."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found: SpeechEngine = engines.load("tts", BUILTIN, name)(Settings(**changes))
        except ModelNotReady as error:
            pytest.skip(error.detail)
    return found


@pytest.fixture(scope="module")
def piper() -> Iterator[Any]:
    engine = made("piper")
    yield engine
    engine.close()


@pytest.fixture(scope="module", params=sorted(BUILTIN))
def engine(request: pytest.FixtureRequest) -> Iterator[SpeechEngine]:
    found = made(request.param)
    yield found
    found.close()


def decoded(data: bytes, form: str) -> tuple[NDArray[np.float64], int]:
    """Samples in [-1, 1] and their rate, by FFmpeg; `pcm` is what OpenAI says it is."""
    if form == "pcm":
        return np.frombuffer(data, dtype="<i2") / 32768, 24_000
    with av.open(io.BytesIO(data)) as container:
        frames = list(container.decode(audio=0))
    resampler = av.AudioResampler(format="dbl", layout="mono")
    parts = [each.to_ndarray()[0] for frame in frames for each in resampler.resample(frame)]
    return np.concatenate(parts), frames[0].sample_rate


def loudness_db(sound: NDArray[Any]) -> float:
    """Root mean square relative to full scale."""
    return float(20 * np.log10(np.sqrt((sound.astype(np.float64) ** 2).mean()) + 1e-9))


class Signed(httpx.Auth):
    """A fresh service token for every call: each is good for one."""

    def __init__(self, headers: Callable[..., dict[str, str]]) -> None:
        self._headers = headers

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers.update(self._headers(user_id=request.headers.pop("x-as", USER)))
        yield request


@asynccontextmanager
async def serving(engine: SpeechEngine | None, **changes: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client whose calls are those of the gateway for one user."""
    app = create_app(Settings(**changes), engine=engine)
    auth = Signed(trust_for_tests(app))
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://tts", auth=auth, timeout=120) as client:
            yield client


@pytest.fixture
async def service() -> AsyncIterator[httpx.AsyncClient]:
    """The service over the tone, which costs nothing."""
    async with serving(made("fake")) as client:
        yield client
