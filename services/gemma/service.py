"""A question's way: look up, quote, then let the model speak; the answer outlives the client that asked."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import aclosing

from services.gemma.checking import Checker
from services.gemma.engines import Sampling
from services.gemma.lookup import look_up
from services.gemma.model import ModelLoader
from services.gemma.runs import Run, Runs, message_of
from services.gemma.settings import Settings
from services.gemma.speech import Speech
from services.gemma.upstream import Upstream
from shared.auth.principal import Principal
from shared.clients.rag import RagClient
from shared.errors import (
    Busy,
    ContextExceeded,
    EgressRefused,
    ModelNotReady,
    NotFound,
    ProductError,
    TooLarge,
    UpstreamUnavailable,
)
from shared.schemas.gemma import ChatRequest, ChatResponse
from shared.schemas.ids import new_id
from shared.schemas.rag import Conversation, Message

log = logging.getLogger(__name__)
KEEP_S = 600.0
"""How long the events of a finished answer can still be read again, in seconds."""
STOP_S = 5.0
"""Time that answers have to come to an end when the service stops, in seconds."""
STORE_AGAIN_S = (0.5, 2.0, 5.0)
HISTORY = 24
"""Most earlier turns looked at."""
HISTORY_STEP = 8
"""How many of them go at a time when there are more."""


class Chat:
    """Conversations of all users; a run belongs to the user who asked."""

    def __init__(self, settings: Settings, rag: RagClient, model: ModelLoader | Upstream) -> None:
        self._settings, self._rag, self.model = settings, rag, model
        self._checker = Checker(rag)
        self._runs = Runs()
        self._tasks: set[asyncio.Task[None]] = set()
        self._places = settings.queue_length

    async def start(self, user: Principal, request: ChatRequest) -> Run:
        """The question is stored when it returns; the answer goes on without the caller."""
        if self._places <= 0:
            raise Busy("Too many answers are being written; try again in a moment.", retry_after_s=5)
        if not request.include_context and (reason := self.model.why_not()):
            raise ModelNotReady(reason, retry_after_s=30)
        self._places -= 1
        try:
            earlier, conversation_id = await self._conversation(user, request)
            asked, answer_id = message_of("user", request.message), new_id("msg")  # no other's id comes between them
            await self._rag.put_message(user, conversation_id, asked)
        except BaseException:
            self._places += 1
            raise
        run = Run(user, answer_id, conversation_id, request)
        history = recent(earlier)
        run.draft.turns_left_out = len(earlier) - len(history)
        self._runs.add(run)
        task = asyncio.create_task(self._answer(run, history))
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return run

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._places += 1

    async def _conversation(self, user: Principal, request: ChatRequest) -> tuple[list[Message], str]:
        if request.conversation_id is None:
            title = " ".join(request.message.split())[:80] or "Conversation"
            return [], (await self._rag.create_conversation(user, title)).conversation_id
        found = await self._rag.conversation(user, request.conversation_id)
        return found.messages, found.conversation_id

    def run_of(self, user: Principal, message_id: str) -> Run:
        run = self._runs.of(user, message_id)
        if run is None:
            raise NotFound("This answer is not being written any more; read it in its conversation.")
        return run

    def cancel(self, user: Principal, message_id: str) -> None:
        self.run_of(user, message_id).cancelled = True

    def settled(self, user: Principal, conversation: Conversation) -> Conversation:
        """An answer that is stored as being written, but by nobody: the service was killed over it."""
        for message in conversation.messages:
            if message.status == "streaming" and self._runs.of(user, message.message_id) is None:
                message.status = "failed"
        return conversation

    async def _answer(self, run: Run, history: Sequence[Message]) -> None:
        try:
            run.response = await self._write(run, history)
            run.say("done", run.response.model_dump(mode="json"))
        except ProductError as error:
            run.fail(error)
        except Exception as error:  # the reader must hear that it ended
            log.exception("an answer failed", extra={"kind": type(error).__name__})
            run.fail(ProductError())
        finally:
            run.finish()
            asyncio.get_running_loop().call_later(KEEP_S, self._runs.drop, run)

    async def _write(self, run: Run, history: Sequence[Message]) -> ChatResponse:
        draft = run.draft
        run.say("status", {"stage": "searching", "message_id": run.message_id, "conversation_id": run.conversation_id})
        if run.request.include_context:
            await self._quote(run, history)
        draft.notice = self.model.why_not()
        if not draft.notice and not run.cancelled and (draft.is_answered or not run.request.include_context):
            await self._add_words(run, history)
        if draft.notice:
            run.say("status", {"stage": "extractive", "notice": draft.notice})
        if run.request.include_context:
            await self._checker.check(run)
        if run.cancelled:
            draft.notice = "Stopped before it was finished."
        draft.timings.total_s = run.elapsed_s()
        await self._store(run, "cancelled" if run.cancelled else "complete")
        return ChatResponse(
            response=draft.text,
            conversation_id=run.conversation_id,
            message_id=run.message_id,
            citations=draft.citations,
            evidence=draft.evidence,
            context=draft.context,
            usage=draft.usage,
            model=draft.model,
            timings=draft.timings,
            notice=draft.notice,
        )

    async def _quote(self, run: Run, history: Sequence[Message]) -> None:
        """The answer in quotations, or that there is none."""
        draft = run.draft
        asked = [each.content for each in history if each.role == "user"]
        found = await look_up(self._rag, run.user, [*asked, run.request.message], self._settings.top_k)
        draft.hits, draft.citations = found.hits, found.citations
        draft.timings.retrieval_s = run.elapsed_s()
        run.say("context", {"memories": [hit.metadata.memory_id for hit in draft.hits]})
        for citation in draft.citations:
            run.say("citation", citation.model_dump(mode="json"))
        run.tell(found.told)

    async def _add_words(self, run: Run, history: Sequence[Message]) -> None:
        """What the model says beside the quotations; where it fails, they stand alone and the notice says why."""
        if run.draft.text:
            await self._store(run, "streaming")
        try:
            await self._speak(run, history)
        except (Busy, TooLarge, ContextExceeded, EgressRefused) as error:  # ModelNotReady is a kind of Busy
            if not run.draft.text:
                raise
            run.draft.notice = error.detail

    async def _speak(self, run: Run, history: Sequence[Message]) -> None:
        speech = Speech(run, history, self._settings)
        sampling = Sampling(max_tokens=run.request.max_tokens, temperature=run.request.temperature)

        def told(stage: str, why: str) -> None:
            run.say("status", {"stage": stage, "detail": why})

        def waits(ahead: int) -> None:
            run.say("status", {"stage": "waiting", "ahead": ahead})

        written = self.model.write(
            speech.compose, sampling, lambda: run.cancelled, told, user=run.user.user_id, position=waits
        )
        async with aclosing(written) as pieces:
            async for piece in pieces:
                speech.hear(piece)
                if speech.loops:
                    break
        speech.end()

    async def _store(self, run: Run, status: str) -> None:
        """Durable when it returns; tries for some seconds, for the vault may just be starting again."""
        draft = run.draft
        message = message_of(
            "assistant",
            draft.text,
            run.message_id,
            citations=draft.citations,
            evidence=draft.evidence,
            model=draft.model,
            status=status,
        )
        for wait_s in STORE_AGAIN_S:
            try:
                await self._rag.put_message(run.user, run.conversation_id, message)
                return
            except (UpstreamUnavailable, Busy):
                await asyncio.sleep(wait_s)
        await self._rag.put_message(run.user, run.conversation_id, message)

    async def wait(self, run: Run) -> ChatResponse:
        async for _ in run.read():
            pass
        if run.error is not None:
            raise run.error
        assert run.response is not None
        return run.response

    async def stop(self) -> None:
        """Answers in the making end with what they have and are stored."""
        for run in self._runs.unfinished():
            run.cancelled = True
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=STOP_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def recent(messages: Sequence[Message]) -> Sequence[Message]:
    """The last ones; the oldest go several at a time, so that one prompt mostly begins as the one before."""
    surplus = max(0, len(messages) - HISTORY)
    return messages[-(-surplus // HISTORY_STEP) * HISTORY_STEP :]
