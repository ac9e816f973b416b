"""OpenAI's chat completions: the caller's messages answered in the model's own words, from the vault where asked.

An exchange is written by a task of its own, so that a caller who leaves only sets a mark: the model stops at the next
token, and what is to be kept is kept.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from services.gemma import evidence, prompts
from services.gemma.engines import Open, Piece, Ruler, Sampling, Turn
from services.gemma.lookup import Found, look_up
from services.gemma.model import ModelLoader
from services.gemma.settings import Settings
from services.gemma.upstream import Upstream
from shared.auth.principal import Principal
from shared.clients.rag import RagClient
from shared.errors import Busy, ContextExceeded, Invalid, ModelNotFound, ModelNotReady, ProductError
from shared.schemas.completions import CompletionRequest, Finish, MemoryMode, NemoContext, TokenUsage
from shared.schemas.ids import new_id
from shared.schemas.openai import Model
from shared.schemas.problem import FieldError
from shared.schemas.rag import Message

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
SEEDS = 2**31
"""Seeds that our sampler knows; others come down to one of them."""


@dataclass
class Exchange:
    """One request and its answer in the making."""

    user: Principal
    request: CompletionRequest
    memory: MemoryMode
    model: str
    conversation_id: str | None = None
    id: str = field(default_factory=lambda: new_id("chatcmpl").replace("_", "-"))
    created: int = field(default_factory=lambda: int(time.time()))
    found: Found = field(default_factory=Found)
    shown: int = 0
    """Passages that the model was given."""
    text: str = ""
    refused: bool = False
    """The text is a refusal: a structured answer was asked for, of nothing."""
    finish: Finish = "stop"
    usage: TokenUsage = field(default_factory=TokenUsage)
    cancelled: bool = False
    _parts: asyncio.Queue[str | ProductError | None] = field(default_factory=asyncio.Queue)

    @property
    def nemo(self) -> NemoContext | None:
        if self.memory == "off":
            return None
        return NemoContext(
            memory=self.memory,
            citations=self.found.citations,
            memories=self.shown,
            memories_left_out=len(self.found.hits) - self.shown if self.found.citations else 0,
            conversation_id=self.conversation_id,
        )

    @property
    def questions(self) -> list[str]:
        return [message.text() for message in self.request.messages if message.role == "user"]

    def tell(self, text: str) -> None:
        self.text += text
        self._parts.put_nowait(text)

    def end(self, error: ProductError | None = None) -> None:
        self._parts.put_nowait(error)

    async def read(self) -> AsyncIterator[str]:
        """Parts of the answer, the first (which may be empty) once the model has begun. Whoever stops, stops it."""
        try:
            while (part := await self._parts.get()) is not None:
                if isinstance(part, ProductError):
                    raise part
                yield part
        finally:
            self.cancelled = True


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
        if exchange.memory != "off" and not exchange.found.citations:
            exchange.refused = exchange.request.structured
            exchange.tell(evidence.NOTHING)
        else:
            await self._ask_model(exchange)
        if exchange.memory == "read-write":
            await self._keep_answer(exchange)

    async def _ask_model(self, exchange: Exchange) -> None:
        composed = _Composer(exchange, self._settings)
        sampling = sampling_of(exchange.request, self._settings.context_tokens)
        begun = False
        asked = self._model.write(composed, sampling, lambda: exchange.cancelled, lambda stage, why: None)
        async with aclosing(asked) as pieces:
            async for piece in pieces:
                _count(exchange, piece, composed.length, sampling.max_tokens, self._settings.context_tokens)
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
        await self._rag.put_message(exchange.user, exchange.conversation_id, _message("user", question))

    async def _keep_answer(self, exchange: Exchange) -> None:
        assert exchange.conversation_id is not None
        citations = exchange.found.citations
        answer = _message(
            "assistant",
            exchange.text,
            citations=citations,
            model=exchange.model if citations else None,
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


class _Composer:
    """Makes the prompt in a thread; the caller's messages are never cut, memories are left out from the last."""

    def __init__(self, exchange: Exchange, settings: Settings) -> None:
        self._exchange, self._settings = exchange, settings
        self.length = 0
        """Tokens of the prompt, once it is made."""

    def __call__(self, ruler: Ruler) -> Sequence[Turn]:
        """Raises ContextExceeded."""
        exchange = self._exchange
        said = [Turn(_role(each.role), prompts.harmless(each.text())) for each in exchange.request.messages]
        if exchange.memory == "off":
            turns: Sequence[Turn] = Open(said)
        else:
            blocks = self._fitting(ruler, said)
            exchange.shown, turns = len(blocks), with_memories(said, blocks)
        self.length = self._checked(ruler, turns)
        return turns

    def _fitting(self, ruler: Ruler, said: Sequence[Turn]) -> list[str]:
        context = ruler.capabilities.context_tokens
        most = _kept_free(self._exchange.request, context)
        room = min(self._settings.memory_tokens, context - most - self._checked(ruler, with_memories(said, [""])))
        kept: list[str] = []
        for hit in self._exchange.found.hits:
            block = prompts.memory_block(hit.content, hit.metadata.title, hit.metadata.speaker)
            room -= ruler.length([Turn("user", block)])
            if room < 0:
                break
            kept.append(block)
        if not kept:
            raise _too_long("These messages leave no room for memories", context)
        return kept

    def _checked(self, ruler: Ruler, turns: Sequence[Turn]) -> int:
        length, context = ruler.length(turns), ruler.capabilities.context_tokens
        if length >= context:
            raise _too_long(f"These messages are {length} tokens long", context)
        return length


def _kept_free(request: CompletionRequest, context: int) -> int:
    """Tokens that memories leave for the answer."""
    return min(request.most_tokens or context, context // 4)


def with_memories(said: Sequence[Turn], blocks: Sequence[str]) -> list[Turn]:
    """The caller's system words and ours first; the quotations before the last question of the user."""
    system = [turn.content for turn in said if turn.role == "system"]
    rest = [turn for turn in said if turn.role != "system"]
    last = max(at for at, turn in enumerate(rest) if turn.role == "user")
    rest[last] = Turn("user", prompts.asked(rest[last].content, blocks))
    return [Turn("system", "\n\n".join([*system, prompts.SYSTEM])), *rest]


def sampling_of(request: CompletionRequest, context_tokens: int) -> Sampling:
    """What is absent is ours: a small model needs a cooler head than OpenAI's."""
    plain = Sampling()
    return Sampling(
        max_tokens=min(request.most_tokens or context_tokens, context_tokens),
        temperature=plain.temperature if request.temperature is None else request.temperature,
        top_p=plain.top_p if request.top_p is None else request.top_p,
        presence_penalty=request.presence_penalty or 0.0,
        frequency_penalty=request.frequency_penalty or 0.0,
        seed=None if request.seed is None else request.seed % SEEDS,
        stop=tuple(request.stop or ()),
        schema=_schema_of(request),
    )


def _schema_of(request: CompletionRequest) -> str | None:
    asked = request.response_format
    if asked is None or asked.type == "text":
        return None
    return json.dumps(asked.json_schema.schema_ if asked.json_schema is not None else {"type": "object"})


def _count(exchange: Exchange, piece: Piece, length: int, most: int, context: int) -> None:
    """Usage so far, and why it would end here, where the engine does not say."""
    usage, full = exchange.usage, piece.written >= min(most, context - length)
    usage.prompt_tokens, usage.completion_tokens = piece.read or length, piece.written
    usage.total_tokens = usage.prompt_tokens + usage.completion_tokens
    exchange.finish = "length" if piece.finish == "length" or (piece.finish is None and full) else "stop"


def _in_their_words(error: ProductError) -> ProductError:
    """An engine points into the schema that it was given, the caller wrote it somewhere deeper."""
    for each in error.errors:
        if each.pointer.startswith("/schema"):
            each.pointer = f"/response_format/json_schema{each.pointer}"
    return error


def _role(role: str) -> str:
    return "system" if role == "developer" else role


def _too_long(what: str, context: int) -> ContextExceeded:
    detail = f"{what}; the model reads {context} tokens at once, its answer among them. Send less."
    return ContextExceeded(detail, errors=[FieldError(pointer="/messages", detail="too long")])


def _message(role: str, content: str, **more: Any) -> Message:
    return Message.model_validate(
        {"message_id": new_id("msg"), "role": role, "content": content, "created_at": datetime.now(UTC)} | more
    )


def _named(settings: Settings) -> tuple[str, int]:
    """The model's name, and the moment its weights were put here (Unix time; 0 where they are elsewhere)."""
    if settings.engine == "openai":
        return settings.openai_model, 0
    if settings.engine == "fake":
        return "fake", 0
    path: Path = settings.models_dir / settings.llm_model
    return path.stem, int(path.stat().st_mtime) if path.is_file() else 0
