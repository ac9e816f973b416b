"""Whose turn it is in a voice chat: what is heard becomes a question, it gets an answer, and speech over it ends it."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Literal

from services.api_gateway.answering import Answer
from services.api_gateway.clients import Clients
from services.api_gateway.ears import LOST, Ears
from services.api_gateway.outgoing import Closed, Outgoing
from services.api_gateway.settings import Settings
from services.api_gateway.turns import Gate, Question
from shared.auth.principal import Principal
from shared.errors import NotFound, ProductError, VaultLocked
from shared.lifecycle import comes
from shared.schemas.gemma import ChatRequest
from shared.schemas.voice import (
    CLOSE_LOCKED,
    CLOSE_REFUSED,
    Interrupted,
    StartVoice,
    VoiceEnd,
    VoiceFailed,
    VoicePartial,
    VoiceReady,
    VoiceTranscript,
    VoiceVad,
    VoiceWarning,
)

log = logging.getLogger(__name__)
AGAIN_S = 2.0
"""A lost live stream is opened again at most so often."""
DETECTOR_S = 0.544
"""Silence after which the live stream tells of it (docs/live.md)."""
HUSHED_DBFS = -60.0
"""Loud enough to end an answer that does not sound yet: there is no echo that it could be taken for."""
KNOWN_S = 10.0
LEAVE_S = 5.0
QUESTION_CHARS = 32_000
NOT_HEARD = "The stream of what you say was cut off; go on speaking in a moment, the chat is still open."
NO_WORDS = "No words were heard; say it again, a little louder or closer."
By = Literal["speech", "talk", "button"]


class Dialogue:
    """One voice chat after its `start`. Its methods are called one at a time, as the client's messages come."""

    def __init__(self, settings: Settings, clients: Clients, user: Principal, start: StartVoice, out: Outgoing) -> None:
        self._settings, self._clients, self._user, self._start, self._out = settings, clients, user, start, out
        self._conversation_id = start.conversation_id
        self._voice: str | None = None
        self._ears = Ears(clients.transcription, user, start, self.hear)
        self._deaf = False
        """The loss of the live stream has been told."""
        self._tried_at = 0.0
        self._gate = Gate(start.sample_rate_hz, settings.voice_barge_in_ms)
        self._question = Question()
        self._talking = False
        self._flushed_ms: int | None = None
        """The question is complete once all sound up to here has its words; None while it is being said."""
        self._doubtful = False
        """What is being said began while an answer sounded, so it may be its echo."""
        self._silent_since = 0.0
        self._asking: asyncio.Task[None] | None = None
        self._asked = False
        """The question of `_asking` is on its way and cannot be gone on with."""
        self._answer: Answer | None = None
        self._last: Answer | None = None
        self._answers: set[asyncio.Task[None]] = set()
        self._recorded: dict[str, Any] = {}

    # -- beginning and end

    async def begin(self) -> None:
        """`ready`, also where a service is away: what cannot be done is told, and tried again when it is needed.

        Raises Closed for a conversation that is not there and for a locked vault.
        """
        await self._check_conversation()
        if self._start.speak:
            self._voice = await self._chosen_voice()
        await self._connect()
        ready = VoiceReady(
            mode=self._start.mode, speak=self._voice is not None, voice=self._voice,
            conversation_id=self._conversation_id, transcript_id=self._ears.transcript_id,
        )  # fmt: skip
        self._out.put(ready)

    async def _check_conversation(self) -> None:
        if self._conversation_id is None:
            return
        try:
            await self._clients.gemma.conversation(self._user, self._conversation_id)
        except ProductError as error:
            self._tell(error)
            if isinstance(error, NotFound):
                raise Closed(CLOSE_REFUSED) from error

    async def _chosen_voice(self) -> str | None:
        """None where nobody can speak."""
        start = self._start
        try:
            voices = (await self._clients.tts.voices(self._user)).data
        except ProductError as error:
            self._warn("no_speech", f"{error.detail} Answers come as text only; begin again to try once more.")
            return None
        if start.voice is not None:
            if any(each.id == start.voice for each in voices):
                return start.voice
            self._warn("unknown_voice", "There is no voice of this name, so another one speaks; see /v1/audio/voices.")
        fitting = (each.id for each in voices if start.language and each.language.lower().startswith(start.language))
        return next(fitting, voices[0].id if voices else None)

    async def stop(self) -> None:
        """The client has said all; a recording is finished."""
        await self.hush()
        if self._start.remember:
            await self._ears.stop()
        ended = {name: self._recorded.get(name) for name in ("transcript_id", "job_id")}
        self._out.put(VoiceEnd(conversation_id=self._known_conversation, **ended))

    async def leave(self) -> None:
        """No answer goes on for somebody who is gone, and a recording does not wait for them."""
        await self.hush()
        if self._answers:  # what is being asked has no answer that could be cancelled yet
            await asyncio.wait(set(self._answers), timeout=LEAVE_S)
        for each in self._answers:
            each.cancel()
        if self._start.remember:
            await self._ears.stop()
        await self._ears.close()

    async def hush(self) -> None:
        """The answer ends, and none is begun any more."""
        if self._asking is not None:
            self._asking.cancel()
        if self._answer is not None:
            answer, self._answer = self._answer, None
            self._out.drop_sound()
            await answer.stop()

    # -- what the client says

    @property
    def pushes(self) -> bool:
        return self._start.mode == "push"

    async def talk(self, on: bool) -> None:
        """The button, in the mode push."""
        if on == self._talking:
            return
        self._talking = on
        if on:
            self._deaf, self._flushed_ms = False, None
            await self.interrupt("talk")
        else:
            await self.flush()

    async def flush(self) -> None:
        """The question is complete. Its last words may still be on their way."""
        if self._ears.open:
            self._flushed_ms = self._ears.sent_ms
            await self._ears.flush()

    async def sound(self, pcm: bytes) -> None:
        """To the live stream, no faster than it takes it. What is said beside the button is nobody's business."""
        if self.pushes and not self._talking:
            return
        if not self._ears.open:
            await self._connect_again()
        if not self.pushes:
            await self._look(pcm)
        await self._ears.send(pcm)

    async def _look(self, pcm: bytes) -> None:
        """Whether somebody speaks over the answer, loud and long enough to be meant."""
        echo = self._doubtful or (self._answer is not None and self._answer.sounding)
        self._gate.feed(pcm, self._settings.voice_barge_in_dbfs if echo else HUSHED_DBFS)
        if self._gate.open:
            self._doubtful = False
            await self.interrupt("speech")

    async def interrupt(self, by: By) -> None:
        """Nothing where no answer is on."""
        if self._answer is None:
            return
        answer, self._answer = self._answer, None
        self._out.drop_sound()
        told = Interrupted(
            by=by, message_id=answer.message_id, conversation_id=answer.conversation_id, spoken_ms=answer.spoken_ms
        )
        self._out.put(told)
        await answer.stop()

    # -- the live stream

    async def _connect(self) -> None:
        """Raises Closed for a locked vault: nothing can be done before it is open."""
        self._tried_at = asyncio.get_running_loop().time()
        try:
            await self._ears.connect()
        except ProductError as error:
            if not self._deaf:
                self._tell(error)
            self._deaf = True

    async def _connect_again(self) -> None:
        if asyncio.get_running_loop().time() - self._tried_at < AGAIN_S:
            return
        await self._ears.close()
        await self._connect()
        if self._ears.open:
            self._deaf = False
            self._warn("heard_again", "You are heard again; say once more what was not answered.")

    def hear(self, event: dict[str, Any]) -> None:
        """An event of the live stream, or its loss."""
        kind = event["type"]
        if kind == "vad":
            self._vad(event)
        elif kind == "partial" and self._question.partial(event) and not self._ignores:
            self._out.put(VoicePartial(text=self._question.so_far))
        elif kind == "final" and self._question.final(event) and not self._ignores:
            self._out.put(VoiceTranscript(text=self._question.text, final=False))
        elif kind == "quiet":
            self._all_told(event["audio_ms"])
        elif kind == "warning":
            self._warn(event["code"], event["detail"])
        elif kind == "error":
            self._out.put(VoiceFailed(code=event["code"], detail=event["detail"]))
        elif kind == "end":
            self._recorded = event
        elif kind == LOST:
            self._lost(event["code"])

    @property
    def _ignores(self) -> bool:
        """What is heard may be the answer itself, or is no question unless it ends the answer."""
        return self._doubtful or self._answer is not None

    def _vad(self, event: dict[str, Any]) -> None:
        self._out.put(VoiceVad(state=event["state"], at_s=event["at_s"]))
        self._gate.speech = event["state"] == "speech"
        if not self._gate.speech:
            self._silent_since = asyncio.get_running_loop().time()
            return
        if self._asking is not None and not self._asked:
            self._asking.cancel()  # the question goes on
        if self._answer is not None:
            self._doubtful = self._answer.sounding
            self._question.clear(since_s=event["at_s"])

    def _all_told(self, audio_ms: int) -> None:
        """Nobody speaks, and all words are here: is it a question?"""
        if self._flushed_ms is not None and audio_ms >= self._flushed_ms:
            self._flushed_ms, self._doubtful = None, False
            self._soon(0.0)
        elif self.pushes:
            return
        elif self._ignores:
            self._doubtful = False
            self._question.clear()
        elif self._question.text:
            since_s = asyncio.get_running_loop().time() - self._silent_since
            self._soon(self._settings.voice_silence_ms / 1000 - DETECTOR_S - since_s)

    def _lost(self, code: int | None) -> None:
        self._question.clear()
        self._flushed_ms, self._doubtful, self._gate.speech = None, False, False
        if code == CLOSE_LOCKED:
            self._out.end(CLOSE_LOCKED)
        elif not self._recorded:
            self._deaf = True
            self._out.put(VoiceFailed(code="not_heard", detail=NOT_HEARD))

    # -- question and answer

    def _soon(self, wait_s: float) -> None:
        before = self._asking
        if before is not None and not self._asked:
            before.cancel()
        self._asking, self._asked = asyncio.create_task(self._ask(wait_s, before)), False
        self._asking.add_done_callback(self._not_asked)

    def _not_asked(self, task: asyncio.Task[None]) -> None:
        """A fault of ours must not look like an answer that takes long."""
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a question could not be asked", exc_info=error, extra={"kind": type(error).__name__})
            self._tell(ProductError())

    async def _ask(self, wait_s: float, before: asyncio.Task[None] | None) -> None:
        await asyncio.sleep(max(0.0, wait_s))
        self._asked = True
        text = self._question.text[:QUESTION_CHARS]
        self._question.clear()
        if not text:
            self._warn("nothing_heard", NO_WORDS)
            return
        self._out.put(VoiceTranscript(text=text, final=True))
        if before is not None:
            await asyncio.wait({before})
        await self.interrupt("talk")
        if self._last is not None and self._conversation_id is None:
            await self._wait_for(self._last)
        self._begin_answer(text)

    async def _wait_for(self, answer: Answer) -> None:
        """One that was interrupted early may be just beginning the conversation."""
        if not await comes(answer.known, KNOWN_S):
            self._warn("new_conversation", "The conversation so far is not known yet; this question begins another.")

    @property
    def _known_conversation(self) -> str | None:
        return self._conversation_id or (self._last.conversation_id if self._last is not None else None)

    def _begin_answer(self, text: str) -> None:
        self._conversation_id = self._known_conversation
        question = ChatRequest(
            message=text, conversation_id=self._conversation_id, include_context=self._start.include_context
        )
        chars = self._settings.voice_spoken_chars
        answer = self._answer = self._last = Answer(self._clients, self._user, question, self._out, self._voice, chars)
        self._gate.reset()
        task = asyncio.create_task(answer.run())
        self._answers.add(task)
        task.add_done_callback(lambda done: self._over(done, answer))

    def _over(self, task: asyncio.Task[None], answer: Answer) -> None:
        self._answers.discard(task)
        if self._answer is answer:
            self._answer = None
        if isinstance(answer.error, VaultLocked):
            self._out.end(CLOSE_LOCKED)

    def _tell(self, error: ProductError) -> None:
        """Raises Closed for a locked vault."""
        self._out.put(VoiceFailed(code=error.code, detail=error.detail))
        if isinstance(error, VaultLocked):
            raise Closed(CLOSE_LOCKED)

    def _warn(self, code: str, detail: str) -> None:
        self._out.put(VoiceWarning(code=code, detail=detail))
