"""Speech to text while somebody waits, and nothing kept: decode, speech in pieces, who speaks when."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial

from services.transcription import channels as channel_split
from services.transcription.chunking import cuts, moved
from services.transcription.crosstalk import without_crosstalk
from services.transcription.engines import Capabilities, Heard, Turn
from services.transcription.engines.served import Speech
from services.transcription.settings import Settings
from services.transcription.voices import Voices
from shared.audio.decode import RATE_HZ, Decoded, DecodeLimits, Samples, as_float, decode
from shared.audio.tracks import Track
from shared.auth.principal import Principal
from shared.errors import BadRequest, Busy, TooLarge
from shared.gpu.holder import Holder
from shared.multipart import MultipartBody
from shared.schemas.transcription import Segment

WAIT_S = 60.0
"""How long a request waits for the model's memory."""
BODY_S = 300.0
"""How long a body may take to come; it holds a seat meanwhile."""
PIECE_S = 30.0
"""Length that a piece aims at: what a stream shows at once, and how long another's piece waits."""
SEATS = 8
"""Requests that have their sound in memory at once; the others wait with their bodies unread."""
PLACES, PLACES_OF_ONE = 24, 3
"""Requests that have a seat or wait for one: of all users, and of one."""
CLIP_CHANNELS = 2
"""A clip at its longest may have so many channels; one with more is shorter."""


@dataclass(frozen=True)
class Ask:
    """What is wanted of a sound."""

    language: str | None = None
    """ISO 639-1; None: detected where the engine can."""
    hotwords: str | None = None
    translate: bool = False


@dataclass(frozen=True)
class Part:
    """The next segments in time, and their language."""

    segments: list[Segment]
    language: str


class Listening:
    """One clip at a time per seat; the pieces of all take turns on the one model."""

    def __init__(self, settings: Settings, engine: Speech, holder: Holder, voices: Voices) -> None:
        self._settings, self._engine, self._holder, self._voices = settings, engine, holder, voices
        self._places: Counter[str] = Counter()
        self._seats = asyncio.Semaphore(SEATS)
        # Work of minutes, so not in the threads that all share: there it would keep live sound from the disk.
        self._apart = ThreadPoolExecutor(max_workers=1, thread_name_prefix="turns")

    @property
    def model(self) -> str:
        """The name of the speech model, as it is or as it will be loaded."""
        known = self._engine.known
        return known.model if known else self._settings.transcription_model

    @property
    def weights_s(self) -> int:
        """Unix time of the weights; 0 where they are not a file of ours."""
        path = self._settings.models_dir / self._settings.transcription_model
        return int(path.stat().st_mtime) if path.exists() else 0

    @asynccontextmanager
    async def seat(self, user: Principal) -> AsyncIterator[None]:
        """Raises Busy where too many wait already."""
        with self._place(user.user_id):
            async with self._seats:
                yield

    @contextmanager
    def _place(self, user_id: str) -> Iterator[None]:
        if self._places[user_id] >= PLACES_OF_ONE:
            raise Busy("You have as many files being heard as one user may; wait for one to end.", retry_after_s=5)
        if self._places.total() >= PLACES:
            raise Busy("Too many files are being heard; try again in a moment.", retry_after_s=5)
        self._places[user_id] += 1
        try:
            yield
        finally:
            self._places[user_id] -= 1
            self._places += Counter()  # drops those at zero

    async def able(self) -> Capabilities:
        """What the model can do, once it is there. Raises ModelNotReady."""
        async with self._holder.use(most_s=WAIT_S):
            return self._engine.capabilities

    async def received(self, body: MultipartBody) -> bytes:
        """The file; the form is whole afterwards. Raises TooLarge, BadRequest, Invalid."""
        data, most = bytearray(), self._settings.clip_bytes
        try:
            async with asyncio.timeout(BODY_S):
                async for chunk in body.file("file", "audio"):
                    data += chunk[: most + 1 - len(data)]  # read to its end, so that the answer finds its reader
        except TimeoutError as error:
            raise BadRequest(f"The body did not come within {BODY_S:.0f} s.") from error
        if len(data) > most:
            raise TooLarge(f"The file has more than {most} bytes; send longer ones to /transcription/upload.")
        return bytes(data)

    async def decoded(self, data: bytes) -> Decoded:
        """Raises AudioUnreadable, AudioTooLong."""
        most_s = self._settings.clip_s
        pcm_bytes = int((most_s + 1) * RATE_HZ) * 2 * CLIP_CHANNELS  # a second more: resampling may round up
        return await decode(data, limits=DecodeLimits(max_s=most_s, max_pcm_bytes=pcm_bytes))

    async def speech(self, sound: Decoded, ask: Ask) -> AsyncIterator[Part]:
        """Segments in order of time as they are done. Raises ModelNotReady."""
        signals, _ = await asyncio.to_thread(channel_split.split, list(sound.samples), "auto")
        done_s, waiting = [0.0] * len(signals), list[Segment]()
        for start, end, channel in await self._plan(signals):
            heard = await self._heard(signals[channel][start:end], ask)
            waiting += [moved(each, start / RATE_HZ, channel) for each in heard.segments]
            done_s[channel] = end / RATE_HZ
            # What another channel may still say something before is not told yet.
            ready = sorted((s for s in waiting if s.start_s <= min(done_s)), key=lambda s: (s.start_s, s.channel))
            waiting = [s for s in waiting if s.start_s > min(done_s)]
            if len(signals) > 1:
                ready, _ = await asyncio.to_thread(without_crosstalk, ready, signals)
            yield Part(ready, heard.language)

    async def _plan(self, signals: list[Track]) -> list[tuple[int, int, int]]:
        """(first sample, end, channel) of each piece, in order of time."""
        piece_s = min(PIECE_S, self._settings.chunk_s)
        async with self._holder.use(most_s=WAIT_S):
            found = [
                (start, end, channel)
                for channel, signal in enumerate(signals)
                for start, end in await cuts(self._engine.pauses, signal, piece_s)
            ]
        return sorted(found)

    async def _heard(self, samples: Samples, ask: Ask) -> Heard:
        hotwords = ask.hotwords if self._engine.capabilities.hotwords else None
        async with self._holder.use(most_s=WAIT_S):
            return await self._engine.transcribe(
                as_float(samples), language=ask.language, hotwords=hotwords, translate=ask.translate
            )

    async def turns(self, sound: Decoded, **hints: int | None) -> list[Turn]:
        """Who speaks when. Raises ModelNotReady where no speaker model is installed."""
        diarizer = await self._voices.loaded()
        left = threading.Event()

        def breathe() -> None:
            if left.is_set():
                raise asyncio.CancelledError

        work = partial(diarizer.diarize, as_float(sound.mono()), breathe=breathe, **hints)
        try:
            return (await asyncio.get_running_loop().run_in_executor(self._apart, work)).turns
        finally:
            left.set()  # nobody waits any more, so the thread may stop


def spoken_in(parts: list[Part]) -> str:
    """The language of most of the text; of silence, what the engine took it for."""
    count = Counter[str]()
    for part in parts:
        count[part.language] += sum(len(each.text) for each in part.segments)
    return count.most_common(1)[0][0]
