"""One chat completion in the making: what was asked, the prompt that is made of it, and the answer so far."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from services.gemma import prompts
from services.gemma.engines import Open, Piece, Ruler, Sampling, Turn
from services.gemma.lookup import Found
from services.gemma.settings import Settings
from shared.auth.principal import Principal
from shared.errors import ContextExceeded, ProductError
from shared.schemas.completions import CompletionRequest, Finish, MemoryMode, NemoContext, TokenUsage
from shared.schemas.ids import new_id
from shared.schemas.problem import FieldError

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
            memories_left_out=len(self.found.hits) - self.shown if self.found.answers else 0,
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


class Composer:
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
        for hit in self._exchange.found.quoted_first:
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


def count(exchange: Exchange, piece: Piece, length: int, most: int, context: int) -> None:
    """Usage so far, and why it would end here, where the engine does not say."""
    usage, full = exchange.usage, piece.written >= min(most, context - length)
    usage.prompt_tokens, usage.completion_tokens = piece.read or length, piece.written
    usage.total_tokens = usage.prompt_tokens + usage.completion_tokens
    exchange.finish = "length" if piece.finish == "length" or (piece.finish is None and full) else "stop"


def _role(role: str) -> str:
    return "system" if role == "developer" else role


def _too_long(what: str, context: int) -> ContextExceeded:
    detail = f"{what}; the model reads {context} tokens at once, its answer among them. Send less."
    return ContextExceeded(detail, errors=[FieldError(pointer="/messages", detail="too long")])
