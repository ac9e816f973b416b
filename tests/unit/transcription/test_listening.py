"""Who may listen how much at once, and where the work is done."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import av
import numpy as np
import pytest

from services.transcription.engines import Diarization, Turn
from services.transcription.listening import PLACES, PLACES_OF_ONE, SEATS, Listening
from services.transcription.routes.listening import router
from services.transcription.settings import Settings
from services.transcription.voices import Voices
from shared.audio.decode import RATE_HZ, Decoded
from shared.auth.principal import Principal
from shared.auth.service_tokens import trust_for_tests
from shared.errors import AudioTooLong, Busy
from shared.service import create_service
from tests.gateway_house import served

NOTHING: Any = None
SECOND = Decoded(np.zeros((1, RATE_HZ), dtype=np.int16), RATE_HZ, "wav", False)
ANNA = Principal("usr_01J00000000000000000000000")


def ears_of(**changes: Any) -> Listening:
    return Listening(Settings(**changes), NOTHING, NOTHING, Voices(NOTHING))


def user(number: int) -> Principal:
    return Principal(f"usr_{number:026d}")


async def test_a_user_has_a_share_of_the_places() -> None:
    ears = ears_of()
    async with AsyncExitStack() as stack:
        for _ in range(PLACES_OF_ONE):
            await stack.enter_async_context(ears.seat(ANNA))
        with pytest.raises(Busy, match="one user"):
            await stack.enter_async_context(ears.seat(ANNA))
        await stack.enter_async_context(ears.seat(user(1)))
    async with ears.seat(ANNA):
        assert ears._places == {ANNA.user_id: 1}


async def test_who_finds_no_place_is_told_so_though_the_body_is_unread() -> None:
    app = create_service("transcription", Settings(), routers=[router])
    app.state.listening = ears = ears_of()
    trust = trust_for_tests(app)

    async def body() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield bytes(100_000)

    async with served(app) as url, aiohttp.ClientSession() as session, AsyncExitStack() as stack:
        for _ in range(PLACES_OF_ONE):
            await stack.enter_async_context(ears.seat(ANNA))
        headers = trust(user_id=ANNA.user_id) | {"Content-Type": "multipart/form-data; boundary=x"}
        async with session.post(f"{url}/listening/transcriptions", data=body(), headers=headers) as answer:
            assert answer.status == 503 and (await answer.json(content_type=None))["code"] == "busy"


async def test_so_many_wait_and_no_more() -> None:
    ears, leave = ears_of(), asyncio.Event()

    async def sits(who: Principal) -> None:
        async with ears.seat(who):
            await leave.wait()

    tasks = [asyncio.create_task(sits(user(each))) for each in range(PLACES)]
    await asyncio.sleep(0)
    with pytest.raises(Busy, match="Too many"):
        async with ears.seat(ANNA):
            raise AssertionError
    assert ears._seats.locked() and PLACES > SEATS
    tasks.pop().cancel()
    await asyncio.sleep(0.01)
    leave.set()
    async with ears.seat(ANNA):
        await asyncio.gather(*tasks)
    assert not ears._places


class Counting:
    """A diarizer that says in which threads it worked."""

    def __init__(self) -> None:
        self.threads: set[str] = set()
        self.at_once, self.most = 0, 0

    def diarize(self, sound: Any, **_: Any) -> Diarization:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        self.threads.add(threading.current_thread().name)
        threading.Event().wait(0.05)
        self.at_once -= 1
        return Diarization([Turn(0, 1, 0)])


async def test_speakers_are_told_apart_one_after_the_other_in_a_thread_of_their_own() -> None:
    ears, diarizer = ears_of(), Counting()
    made: Any = diarizer
    waiting = asyncio.create_task(ears.turns(SECOND))
    await asyncio.sleep(0.05)
    assert not waiting.done()  # the model is still being loaded
    ears._voices.use(made)
    await waiting
    await asyncio.gather(*(ears.turns(SECOND) for _ in range(3)))
    assert diarizer.most == 1 and all(each.startswith("turns") for each in diarizer.threads)


def wave(path: Path, seconds: float, layout: str) -> bytes:
    with av.open(str(path), "w", format="wav") as container:
        stream: Any = container.add_stream("pcm_s16le", rate=RATE_HZ, layout=layout)
        silence = np.zeros((1, int(seconds * RATE_HZ) * stream.layout.nb_channels), dtype=np.int16)
        frame: Any = av.AudioFrame.from_ndarray(silence, format="s16", layout=layout)
        frame.sample_rate = RATE_HZ
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path.read_bytes()


async def test_a_long_clip_of_many_channels_does_not_fit(tmp_path: Path) -> None:
    ears = ears_of(clip_s=10)
    assert (await ears.decoded(wave(tmp_path / "two.wav", 9.9, "stereo"))).channels == 2
    assert (await ears.decoded(wave(tmp_path / "short.wav", 3, "5.1"))).channels == 6
    with pytest.raises(AudioTooLong, match="channels"):
        await ears.decoded(wave(tmp_path / "six.wav", 9.9, "5.1"))
