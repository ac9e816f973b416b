"""One answer of a voice chat: its text as it is written, and its sentences said aloud while the rest is coming."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from services.api_gateway.clients import Clients
from services.api_gateway.outgoing import Outgoing
from services.api_gateway.spoken import Spoken
from shared.auth.principal import Principal
from shared.errors import ProductError, UpstreamUnavailable, VaultLocked, from_problem
from shared.schemas.gemma import ChatRequest
from shared.schemas.rag import Citation
from shared.schemas.tts import SpeechRequest
from shared.schemas.voice import (
    SPOKEN_HZ,
    Cited,
    Done,
    Sentence,
    SoundBegins,
    Thinking,
    Token,
    VoiceFailed,
    VoiceTimings,
    VoiceWarning,
)

log = logging.getLogger(__name__)
PIECE_MS = 100
PIECE_BYTES = SPOKEN_HZ * 2 * PIECE_MS // 1000
"""One frame of sound."""
LEAD_S = 0.5
"""How far the sound that was sent is ahead of what the client can have played: what is left when it is cut off."""
TAIL_S = 0.3
"""It is taken to sound so much longer, for the way from here to the loudspeaker."""
PAUSE_S = 0.5
"""A model that writes no more for so long will not end its sentence otherwise: the next may take a minute to come."""
AHEAD = 80
"""Pieces made before they are sent: the next sentence is being made while one sounds."""
CANCEL_S = 5.0


class Answer:
    """Make it, `run` it in a task of its own; `stop` ends it at any time."""

    def __init__(
        self, clients: Clients, user: Principal, question: ChatRequest, out: Outgoing, voice: str | None, chars: int
    ) -> None:
        """`voice` None: text only. `chars`: most that is said aloud."""
        self._clients, self._user, self._question, self._out = clients, user, question, out
        self._voice = voice
        self._mute = voice is None
        self.message_id: str | None = None
        self.conversation_id = question.conversation_id
        self.known = asyncio.Event()
        """The conversation is known, or will not be."""
        self.error: ProductError | None = None
        self.stopped = False
        self._spoken = Spoken(chars)
        self._sentences: asyncio.Queue[str | None] = asyncio.Queue()
        self._pieces: asyncio.Queue[Sentence | bytes | None] = asyncio.Queue(AHEAD)
        self._sound: list[asyncio.Task[None]] = []
        self._began = asyncio.get_running_loop().time()
        self._until = self._began
        self._timings = VoiceTimings()
        self._pause: asyncio.TimerHandle | None = None
        self._done: dict[str, Any] | None = None
        self.spoken_ms = 0

    @property
    def sounding(self) -> bool:
        """The client's loudspeaker has begun to say it."""
        return self.spoken_ms > 0

    async def run(self) -> None:
        """To the end of text and sound. What goes wrong is told."""
        self._sound = [asyncio.create_task(each) for each in (self._make(), self._play())]
        try:
            await self._ask()
            self._sentences.put_nowait(None)
            await asyncio.gather(*self._sound, return_exceptions=True)
            self._tell_done()
        except ProductError as error:
            self._fail(error)
        except Exception as error:  # the client must hear that it ended
            log.exception("an answer could not be told", extra={"kind": type(error).__name__})
            self._fail(ProductError())
        finally:
            self.known.set()
            self._silence()

    async def stop(self) -> None:
        """Nothing more of it is sent, and the model is told to stop; the text so far stays in the conversation."""
        self.stopped = True
        self._silence()
        await self._cancel()

    def _silence(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
        for each in self._sound:
            each.cancel()

    async def _cancel(self) -> None:
        if self.message_id is None or self._done is not None:
            return  # not begun: `_ask` looks again once it has
        try:
            async with asyncio.timeout(CANCEL_S):
                await self._clients.gemma.cancel(self._user, self.message_id)
        except (ProductError, TimeoutError):
            log.info("an answer was over before it was cancelled")

    def _fail(self, error: ProductError) -> None:
        self.error = error
        going_on = "" if isinstance(error, VaultLocked) else " The chat is still open."
        self._tell(VoiceFailed(code=error.code, detail=f"{error.detail}{going_on}"))

    # -- text

    async def _ask(self) -> None:
        """Read to its end also when stopped, which comes soon then: the conversation's id is told on the way."""
        async with self._clients.gemma.ask(self._user, self._question) as (self.message_id, events):
            if self.stopped:
                await self._cancel()
            async for event, data in events:
                self._hear(event, data)
        if self._done is None:
            raise UpstreamUnavailable("The answer broke off; what was written is in the conversation. Ask again.")
        self._say(self._spoken.end())

    def _hear(self, event: str, data: dict[str, Any]) -> None:
        if event == "status" and "conversation_id" in data:
            self.conversation_id = data["conversation_id"]
            self.known.set()
            self._tell(Thinking(message_id=str(self.message_id), conversation_id=data["conversation_id"]))
        elif event == "citation":
            self._tell(Cited(citation=Citation.model_validate(data)))
        elif event == "token":
            self._timings.first_token_s = self._timings.first_token_s or self._elapsed_s()
            self._tell(Token(text=data["text"]))
            self._say(self._spoken.feed(data["text"]))
            if self._pause is not None:
                self._pause.cancel()
            self._pause = asyncio.get_running_loop().call_later(PAUSE_S, lambda: self._say(self._spoken.pause()))
        elif event == "done":
            self._done, self._timings.text_s = data, self._elapsed_s()
        elif event == "error":
            raise from_problem(data, status=502)

    def _tell(self, event: Any) -> None:
        if not self.stopped:
            self._out.put(event)

    def _elapsed_s(self) -> float:
        return round(asyncio.get_running_loop().time() - self._began, 3)

    def _tell_done(self) -> None:
        if self._done is None:
            return
        self._timings.total_s, self._timings.spoken_s = self._elapsed_s(), self.spoken_ms / 1000
        self._tell(
            Done(
                message_id=str(self.message_id),
                conversation_id=str(self.conversation_id),
                model=self._done.get("model"),
                notice=self._done.get("notice"),
                timings=self._timings,
            )
        )

    # -- sound

    def _say(self, sentences: list[str]) -> None:
        if self._mute:
            return
        for each in sentences:
            self._sentences.put_nowait(each)
        if self._spoken.cut:
            self._mute = True
            detail = "The answer is longer than what is said aloud; the rest of it is there as text."
            self._tell(VoiceWarning(code="speech_cut", detail=detail))

    async def _make(self) -> None:
        """Sentences to sound, as far ahead as there is room."""
        try:
            await self._made()
        except ProductError as error:
            detail = f"{error.detail} The answer goes on as text."
            self._tell(VoiceWarning(code="no_speech", detail=detail))
        except Exception as error:  # the text goes on whatever happens to its sound
            log.exception("an answer could not be said aloud", extra={"kind": type(error).__name__})
            self._tell(VoiceWarning(code="no_speech", detail="Speech failed on our side; the answer goes on as text."))
        await self._pieces.put(None)

    async def _made(self) -> None:
        index, at_ms = 0, 0
        while (text := await self._sentences.get()) is not None:
            await self._pieces.put(Sentence(index=index, text=text, at_ms=at_ms))
            async with aclosing(self._pcm(text)) as pieces:
                async for piece in pieces:
                    await self._pieces.put(piece)
                    at_ms += _ms(piece)
            index += 1

    async def _pcm(self, text: str) -> AsyncGenerator[bytes]:
        """Pieces of whole samples; leaving it early stops the work."""
        request = SpeechRequest(input=text, voice=self._voice or "alloy", response_format="pcm")
        held = b""
        async with self._clients.tts.speech(self._user, request) as sound:
            async for more in sound:
                held += more
                while len(held) >= PIECE_BYTES:
                    yield held[:PIECE_BYTES]
                    held = held[PIECE_BYTES:]
        if held:
            yield held[: len(held) // 2 * 2]

    async def _play(self) -> None:
        """At the pace of a loudspeaker, so that little is left over when somebody speaks."""
        loop, mark = asyncio.get_running_loop(), None
        while (piece := await self._pieces.get()) is not None:
            if isinstance(piece, Sentence):
                mark = piece
                continue
            self._until = max(self._until, loop.time())
            await asyncio.sleep(max(0.0, self._until - loop.time() - LEAD_S))
            if mark is not None:
                self._tell_mark(mark)
                mark = None
            self._tell(piece)
            self.spoken_ms += _ms(piece)
            self._until += _ms(piece) / 1000
        if self.spoken_ms:
            await asyncio.sleep(max(0.0, self._until - loop.time()) + TAIL_S)

    def _tell_mark(self, mark: Sentence) -> None:
        if not self.spoken_ms:
            self._timings.first_audio_s = self._elapsed_s()
            self._tell(SoundBegins())
        self._tell(mark)


def _ms(piece: bytes) -> int:
    return len(piece) * 1000 // (2 * SPOKEN_HZ)
