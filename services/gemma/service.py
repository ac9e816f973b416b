"""A question's way: look up, quote, then let the model speak; the answer outlives the client that asked."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from services.gemma import evidence, prompts
from services.gemma.engines import Sampling, Turn
from services.gemma.model import ModelLoader
from services.gemma.settings import Settings
from shared.auth.principal import Principal
from shared.clients.rag import RagClient
from shared.errors import Busy, NotFound, ProductError
from shared.schemas.gemma import ChatRequest, ChatResponse, Timings, Usage
from shared.schemas.ids import new_id
from shared.schemas.rag import Citation, Message, SearchHit, SearchRequest

log = logging.getLogger(__name__)
KEEP_S = 600.0
"""How long the events of a finished answer can still be read again, in seconds."""


@dataclass
class Run:
    """One answer in the making; its events can be read by any number of readers, from any point."""

    user: Principal
    message_id: str
    conversation_id: str
    request: ChatRequest
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: bool = False
    done: bool = False
    response: ChatResponse | None = None
    error: ProductError | None = None

    def say(self, event: str, data: dict[str, Any]) -> None:
        self.events.append((event, data))
        self.wake()

    def wake(self) -> None:
        self.news.set()
        self.news = asyncio.Event()

    def finish(self) -> None:
        self.done = True
        self.wake()

    async def read(self, after: int = 0) -> AsyncIterator[tuple[int, str, dict[str, Any]]]:
        """(number, event, data) from the one after `after`, until the answer ends."""
        at = after
        while True:
            while at < len(self.events):
                at += 1
                yield at, *self.events[at - 1]
            if self.done:
                return
            await self.news.wait()


class Chat:
    """Conversations of all users; a run belongs to the user who asked."""

    def __init__(self, settings: Settings, rag: RagClient, model: ModelLoader) -> None:
        self._settings, self._rag, self.model = settings, rag, model
        self._runs: dict[str, Run] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, user: Principal, request: ChatRequest) -> Run:
        """The question is stored when it returns; the answer goes on without the caller."""
        if sum(not run.done for run in self._runs.values()) >= self._settings.queue_length:
            raise Busy("Too many answers are being written; try again in a moment.", retry_after_s=5)
        history, conversation_id = await self._conversation(user, request)
        asked = _message("user", request.message)
        await self._rag.put_message(user, conversation_id, asked)
        run = Run(user, new_id("msg"), conversation_id, request)
        self._runs[run.message_id] = run
        task = asyncio.create_task(self._answer(run, history))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return run

    async def _conversation(self, user: Principal, request: ChatRequest) -> tuple[list[Turn], str]:
        if request.conversation_id is None:
            title = " ".join(request.message.split())[:80]
            return [], (await self._rag.create_conversation(user, title)).conversation_id
        found = await self._rag.conversation(user, request.conversation_id)
        return [Turn(each.role, each.content) for each in found.messages[-6:]], found.conversation_id

    def run_of(self, user: Principal, message_id: str) -> Run:
        run = self._runs.get(message_id)
        if run is None or run.user.user_id != user.user_id:
            raise NotFound("This answer is not being written any more; read it in its conversation.")
        return run

    def cancel(self, user: Principal, message_id: str) -> None:
        self.run_of(user, message_id).cancelled = True

    async def _answer(self, run: Run, history: list[Turn]) -> None:
        try:
            run.response = await self._write(run, history)
            run.say("done", run.response.model_dump(mode="json"))
        except ProductError as error:
            run.error = error
            run.say("error", {"code": error.code, "title": error.title(), "detail": error.detail})
        except Exception as error:  # the reader must hear that it ended
            log.exception("an answer failed", extra={"kind": type(error).__name__})
            run.error = ProductError()
            run.say("error", {"code": run.error.code, "title": run.error.title(), "detail": run.error.detail})
        finally:
            run.finish()
            asyncio.get_running_loop().call_later(KEEP_S, self._runs.pop, run.message_id, None)

    async def _write(self, run: Run, history: list[Turn]) -> ChatResponse:
        began = time.monotonic()
        timings, usage = Timings(), Usage()
        run.say("status", {"stage": "searching", "message_id": run.message_id, "conversation_id": run.conversation_id})
        hits = await self._hits(run)
        timings.retrieval_s = round(time.monotonic() - began, 4)
        citations, text = await self._quoted(run, hits)
        for citation in citations:
            run.say("citation", citation.model_dump(mode="json"))
        first = _Clock(began)
        if text:
            first.tick()
            run.say("token", {"text": text})
        model_name, notice = "extractive", self.model.why_not()
        if notice:
            run.say("status", {"stage": "extractive", "notice": notice})
        elif citations or not run.request.include_context:
            words, model_name = await self._model_words(run, hits, history, usage, first, after=text)
            text += words
        timings.first_token_s, timings.total_s = first.seconds, round(time.monotonic() - began, 4)
        status = "cancelled" if run.cancelled else "complete"
        message = _message("assistant", text, run.message_id, citations=citations, model=model_name, status=status)
        await self._rag.put_message(run.user, run.conversation_id, message)
        return ChatResponse(
            response=text,
            conversation_id=run.conversation_id,
            message_id=run.message_id,
            citations=citations,
            usage=usage,
            model=model_name,
            timings=timings,
            notice=notice,
        )

    async def _hits(self, run: Run) -> list[SearchHit]:
        if not run.request.include_context:
            return []
        query = SearchRequest(query=run.request.message[:4000], top_k=self._settings.top_k)
        hits = await self._rag.search(run.user, query)
        run.say("context", {"memories": [hit.metadata.memory_id for hit in hits]})
        return hits

    async def _quoted(self, run: Run, hits: list[SearchHit]) -> tuple[list[Citation], str]:
        """The citations and the answer that they make."""
        if not run.request.include_context:
            return [], ""
        quotes = evidence.choose(run.request.message, hits)
        citations = [evidence.cite(quote, await self._source(run.user, quote.hit)) for quote in quotes]
        titles = {quote.hit.metadata.memory_id: quote.hit.metadata.title or "" for quote in quotes}
        return citations, evidence.answer(citations, titles) if citations else evidence.NOTHING

    async def _source(self, user: Principal, hit: SearchHit) -> Any:
        if hit.metadata.transcript_id is None:
            return None
        try:
            return await self._rag.transcript(user, hit.metadata.transcript_id)
        except NotFound:
            return None

    async def _model_words(
        self, run: Run, hits: list[SearchHit], history: list[Turn], usage: Usage, first: _Clock, *, after: str
    ) -> tuple[str, str]:
        """What the model adds, streamed; the name of the model."""
        engine = await self.model.engine()
        kept = self._within_budget(engine, hits)
        turns = prompts.chat(run.request.message, kept, history)
        usage.prompt_tokens = sum(engine.count(turn.content) for turn in turns)
        sampling = Sampling(max_tokens=run.request.max_tokens, temperature=run.request.temperature)
        words, lead = "", f"\n\nIn the words of {engine.capabilities.model}: " if after else ""
        async for piece in self.model.write(turns, sampling, lambda: run.cancelled):
            if not words.strip() and not piece.strip():
                continue
            first.tick()
            run.say("token", {"text": lead + piece if not words else piece})
            words += piece
            usage.completion_tokens += 1
        usage.total_tokens = usage.prompt_tokens + usage.completion_tokens
        return (lead + words if words else ""), engine.capabilities.model

    def _within_budget(self, engine: Any, hits: list[SearchHit]) -> list[SearchHit]:
        """The first memories that fit; later ones are left out whole rather than cut."""
        kept, left = [], self._settings.memory_tokens
        for hit in hits[:4]:
            left -= engine.count(prompts.memory_block(hit))
            if left < 0:
                break
            kept.append(hit)
        return kept

    async def wait(self, run: Run) -> ChatResponse:
        async for _ in run.read():
            pass
        if run.error is not None:
            raise run.error
        assert run.response is not None
        return run.response

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class _Clock:
    """Seconds to the first token."""

    def __init__(self, began: float) -> None:
        self._began = began
        self.seconds: float | None = None

    def tick(self) -> None:
        if self.seconds is None:
            self.seconds = round(time.monotonic() - self._began, 4)


def _message(role: str, content: str, message_id: str | None = None, **more: Any) -> Message:
    return Message.model_validate(
        {"message_id": message_id or new_id("msg"), "role": role, "content": content, "created_at": datetime.now(UTC)}
        | more
    )


def server_sent(number: int, event: str, data: dict[str, Any]) -> bytes:
    return f"id: {number}\nevent: {event}\ndata: {json.dumps(data)}\n\n".encode()
