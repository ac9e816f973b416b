"""OpenAI's chat completions: the caller's messages answered in the model's own words, from the vault where asked.

An exchange is written by a task of its own, so that a caller who leaves only sets a mark: the model stops at the next
token, and what is to be kept is kept.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from contextlib import aclosing
from pathlib import Path

from services.gemma.exchange import Composer, Exchange, count, sampling_of
from services.gemma.lookup import look_up
from services.gemma.model import ModelLoader
from services.gemma.runs import message_of
from services.gemma.settings import Settings
from services.gemma.upstream import Upstream
from shared.auth.principal import Principal
from shared.clients.rag import RagClient
from shared.errors import Busy, Invalid, ModelNotFound, ModelNotReady, ProductError
from shared.schemas.completions import CompletionRequest, MemoryMode
from shared.schemas.openai import Model
from shared.schemas.problem import FieldError

log = logging.getLogger(__name__)
ALIASES = frozenset(
    (
        "gpt-3.5-turbo", "gpt-4", "gpt-4-turbo", "gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-4.1-mini", "gpt-4.1-nano",
        "gpt-5", "gpt-5-mini", "gpt-5-nano", "chatgpt-4o-latest",
    )
)  # fmt: skip
"""Names that programs written for OpenAI send; they mean the one model that is here."""
STOP_S = 5.0
"""Time that answers have to come to an end when the service stops, in seconds."""


class Completions:
    """The exchanges of all users."""

    def __init__(self, settings: Settings, rag: RagClient, model: ModelLoader | Upstream) -> None:
        self._settings, self._rag, self._model = settings, rag, model
        self._running: dict[asyncio.Task[None], Exchange] = {}
        self._name, self._created = _named(settings)

    def models(self) -> list[Model]:
        """The one that is here; none while it cannot be used."""
        return [] if self._model.why_not() else [Model(id=self._name, created=self._created)]

    @property
    def fingerprint(self) -> str:
        """Changes with the weights and what they are run with."""
        what = f"{self._settings.engine} {self._name} {self._created} {self._settings.context_tokens}"
        return f"fp_{hashlib.sha256(what.encode()).hexdigest()[:10]}"

    def start(
        self, user: Principal, request: CompletionRequest, memory: MemoryMode, conversation_id: str | None
    ) -> Exchange:
        """It is being answered when it returns. Raises ModelNotFound, ModelNotReady, Invalid and Busy."""
        if request.model != self._name and request.model not in ALIASES:
            detail = f"The model {request.model[:100]!r} is not here; this server chats with {self._name!r}."
            raise ModelNotFound(detail, errors=[FieldError(pointer="/model", detail="not here")])
        if reason := self._model.why_not():
            raise ModelNotReady(reason, retry_after_s=30)
        exchange = Exchange(user, request, memory, self._name, conversation_id)
        if memory != "off" and not (exchange.questions and exchange.questions[-1].strip()):
            detail = "There is no user message to look up in the memory."
            raise Invalid(detail, errors=[FieldError(pointer="/messages", detail="no user message")])
        if len(self._running) >= self._settings.queue_length:
            raise Busy("Too many answers are being written; try again in a moment.", retry_after_s=5)
        task = asyncio.create_task(self._answer(exchange))
        self._running[task] = exchange
        task.add_done_callback(self._running.pop)
        return exchange

    async def _answer(self, exchange: Exchange) -> None:
        failed: ProductError | None = ProductError()
        try:
            await self._write(exchange)
            failed = None
        except ProductError as error:
            failed = _in_their_words(error)
        except Exception as error:  # the reader must hear that it ended
            log.exception("a completion failed", extra={"kind": type(error).__name__})
        finally:
            exchange.end(failed)

    async def _write(self, exchange: Exchange) -> None:
        if exchange.memory != "off":
            exchange.found = await look_up(self._rag, exchange.user, exchange.questions, self._settings.top_k)
        if exchange.memory == "read-write":
            await self._keep_question(exchange)
        if exchange.memory != "off" and not exchange.found.answers:
            exchange.refused = exchange.request.structured
            exchange.tell(exchange.found.told)
        else:
            await self._ask_model(exchange)
        if exchange.memory == "read-write":
            await self._keep_answer(exchange)

    async def _ask_model(self, exchange: Exchange) -> None:
        composed = Composer(exchange, self._settings)
        sampling = sampling_of(exchange.request, self._settings.context_tokens)
        begun = False
        user = exchange.user.user_id
        asked = self._model.write(composed, sampling, lambda: exchange.cancelled, lambda stage, why: None, user=user)
        async with aclosing(asked) as pieces:
            async for piece in pieces:
                count(exchange, piece, composed.length, sampling.max_tokens, self._settings.context_tokens)
                if piece.text or not begun:
                    exchange.tell(piece.text)
                begun = True
        if not begun:
            exchange.tell("")

    async def _keep_question(self, exchange: Exchange) -> None:
        """Durable before the model is asked. Raises NotFound for a conversation that is not the user's."""
        question = exchange.questions[-1]
        if exchange.conversation_id is None:
            title = " ".join(question.split())[:80] or "Conversation"
            exchange.conversation_id = (await self._rag.create_conversation(exchange.user, title)).conversation_id
        await self._rag.put_message(exchange.user, exchange.conversation_id, message_of("user", question))

    async def _keep_answer(self, exchange: Exchange) -> None:
        assert exchange.conversation_id is not None
        citations = exchange.found.citations
        answer = message_of(
            "assistant",
            exchange.text,
            citations=citations,
            model=exchange.model if exchange.found.answers else None,
            status="cancelled" if exchange.cancelled else "complete",
        )
        await self._rag.put_message(exchange.user, exchange.conversation_id, answer)

    async def stop(self) -> None:
        """Answers in the making end with what they have."""
        for exchange in self._running.values():
            exchange.cancelled = True
        running = set(self._running)
        if running:
            await asyncio.wait(running, timeout=STOP_S)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def _in_their_words(error: ProductError) -> ProductError:
    """An engine points into the schema that it was given, the caller wrote it somewhere deeper."""
    for each in error.errors:
        if each.pointer.startswith("/schema"):
            each.pointer = f"/response_format/json_schema{each.pointer}"
    return error


def _named(settings: Settings) -> tuple[str, int]:
    """The model's name, and the moment its weights were put here (Unix time; 0 where they are elsewhere)."""
    if settings.engine == "openai":
        return settings.openai_model, 0
    if settings.engine == "fake":
        return "fake", 0
    path: Path = settings.models_dir / settings.llm_model
    return path.stem, int(path.stat().st_mtime) if path.is_file() else 0
