"""Speech of a text, sentence by sentence, in turns with whoever else has something to be said."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import numpy as np

from services.tts import sentences
from services.tts.encoding import Encoder
from services.tts.engines import Sound, SpeechEngine
from services.tts.settings import Settings
from shared.auth.principal import Principal
from shared.errors import Busy, Invalid
from shared.schemas.problem import FieldError
from shared.schemas.tts import SpeechRequest, Voice, VoiceList
from shared.telemetry import here

OPENAI_VOICES = frozenset(
    ("alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage", "shimmer", "verse")
)
"""Names that OpenAI's clients send; here they mean the default voice."""
LOOK_S = 1.0


class Speaking:
    """One engine in one thread. Without one, every request looks again whether one was installed meanwhile."""

    def __init__(self, settings: Settings, find: Callable[[], SpeechEngine]) -> None:
        """`find` raises ModelNotReady where no engine is installed."""
        self._settings, self._find = settings, find
        self._engine: SpeechEngine | None = None
        self._places: Counter[str] = Counter()
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tts")
        self._last = time.monotonic()

    async def voices(self) -> VoiceList:
        return VoiceList(data=self._in_order(await self._the_engine()))

    async def speech(self, user: Principal, request: SpeechRequest) -> AsyncGenerator[bytes]:
        """The encoded file as it is made, its first bytes after the first sentence; closing it ends the work.

        Raises Invalid, Busy, ModelNotReady or DeadlineExceeded before the first bytes, ModelLost at any time.
        """
        engine = await self._the_engine()
        voice = self._voice(engine, request.voice)
        parts = sentences.cut(request.input)
        if not parts:
            raise _unspeakable()
        asked: float | None = time.perf_counter()
        with self._place(user.user_id):
            encoder = Encoder(request.response_format, voice.sample_rate_hz, request.speed)
            async for sound in self._sounds(engine, parts, voice):
                if asked is not None:
                    here().took("nemo_tts_first_sound_seconds", time.perf_counter() - asked)
                    asked = None
                if made := await asyncio.to_thread(encoder.add, sound):
                    yield made
            if encoder.empty:
                raise _unspeakable()
            yield await asyncio.to_thread(encoder.end)

    async def _the_engine(self) -> SpeechEngine:
        if self._engine is None:
            found = await asyncio.to_thread(self._find)
            self._engine = self._engine or found  # another request may have been first
        return self._engine

    async def _sounds(self, engine: SpeechEngine, parts: Sequence[str], voice: Voice) -> AsyncIterator[Sound]:
        """Each sentence, and silence before all but the first; a script that the voice cannot read has no sound."""
        pause = np.zeros(int(voice.sample_rate_hz * self._settings.pause_s), dtype=np.int16)
        begun = False
        for part in parts:
            sound = await self._spoken(engine, part, voice)
            if len(sound):
                yield np.concatenate((pause, sound)) if begun else sound
                begun = True

    async def _spoken(self, engine: SpeechEngine, part: str, voice: Voice) -> Sound:
        """The pool is first come, first served, so requests take turns by their sentences."""
        try:
            sound, took_s = await self._in_thread(partial(_timed, partial(engine.speak, part, voice.id)))
            if made_s := len(sound) / voice.sample_rate_hz:
                here().count("nemo_tts_audio_seconds_total", made_s)
                here().took("nemo_tts_real_time_factor", took_s / made_s)
            return sound
        finally:
            self._last = time.monotonic()

    async def _in_thread(self, call: Callable[[], tuple[Sound, float]]) -> tuple[Sound, float]:
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    @contextmanager
    def _place(self, user_id: str) -> Iterator[None]:
        if self._places[user_id] >= self._settings.requests_per_user:
            raise Busy("You have as many texts being spoken as one user may; wait for one to end.", retry_after_s=5)
        if self._places.total() >= self._settings.requests_at_once:
            raise Busy("Too many texts are being spoken; try again in a moment.", retry_after_s=5)
        self._places[user_id] += 1
        try:
            yield
        finally:
            self._places[user_id] -= 1
            self._places += Counter()  # drops those at zero

    def _in_order(self, engine: SpeechEngine) -> list[Voice]:
        """The default voice first."""
        return sorted(engine.capabilities.voices, key=lambda each: each.id != self._settings.voice)

    def _voice(self, engine: SpeechEngine, name: str) -> Voice:
        known = self._in_order(engine)
        found = next((each for each in known if each.id == name), known[0] if name in OPENAI_VOICES else None)
        if found is None:
            some = ", ".join(each.id for each in known[:10])
            raise _invalid("voice", f"There is no voice of this name; there are {some}. See GET /v1/audio/voices.")
        return found

    async def rest(self) -> None:
        """For ever: lets go of the engine's memory after a quiet time."""
        while True:
            await asyncio.sleep(LOOK_S)
            quiet_s = time.monotonic() - self._last
            if self._engine is not None and not self._places and 0 <= self._settings.idle_unload_s <= quiet_s:
                await asyncio.get_running_loop().run_in_executor(self._pool, self._engine.close)

    def close(self) -> None:
        """Waits for the sentence in hand; what waited for its turn is not spoken."""
        self._pool.shutdown(cancel_futures=True)
        if self._engine is not None:
            self._engine.close()


def _timed(call: Callable[[], Sound]) -> tuple[Sound, float]:
    """And the seconds that it took, without those of waiting for the thread."""
    began = time.perf_counter()
    return call(), time.perf_counter() - began


def _unspeakable() -> Invalid:
    return _invalid("input", "There is nothing in this text that this voice can speak.")


def _invalid(field: str, detail: str) -> Invalid:
    return Invalid(detail, errors=[FieldError(pointer=f"/{field}", detail=detail)])
