"""OpenAI's chat completions. The gateway gives them out below `/v1`, where errors look as OpenAI's do."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.responses import StreamingResponse

from services.gemma.completions import Completions
from services.gemma.exchange import Exchange
from services.gemma.routes.chat import known_form
from shared.auth.dependencies import ForUser, FromService
from shared.errors import ProductError
from shared.lifecycle import GONE, unless_gone
from shared.problems import openai_envelope
from shared.schemas.completions import (
    AnswerMessage,
    Choice,
    ChunkChoice,
    Completion,
    CompletionChunk,
    CompletionRequest,
    Delta,
    MemoryMode,
)
from shared.schemas.openai import Model
from shared.streams import PING, with_silences

log = logging.getLogger(__name__)
router = APIRouter(prefix="/completing")


async def the_completions(request: Request) -> Completions:
    found: Completions = request.app.state.completions
    return found


async def the_conversation(x_nemo_conversation: Annotated[str | None, Header()] = None) -> str | None:
    return None if x_nemo_conversation is None else await known_form(x_nemo_conversation)


TheCompletions = Annotated[Completions, Depends(the_completions)]


@router.get("/models")
async def models(completions: TheCompletions, caller: FromService) -> list[Model]:
    return completions.models()


@router.post("/chat", response_model=Completion)
async def chat(
    asked: CompletionRequest,
    request: Request,
    user: ForUser,
    completions: TheCompletions,
    conversation_id: Annotated[str | None, Depends(the_conversation)],
    x_nemo_memory: Annotated[MemoryMode, Header()] = "off",
) -> Response:
    """JSON, or a stream that begins once the model has; a caller who leaves stops it."""
    exchange = completions.start(user, asked, x_nemo_memory, conversation_id)
    told = _Told(exchange, completions.fingerprint)
    if asked.stream:
        parts = exchange.read()
        first = await unless_gone(request, anext(parts, ""))
        return Response(status_code=GONE) if first is None else told.stream(first, parts)
    whole = await unless_gone(request, _whole(exchange))
    return Response(status_code=GONE) if whole is None else told.whole()


async def _whole(exchange: Exchange) -> str:
    return "".join([part async for part in exchange.read()])


class _Told:
    """An exchange in OpenAI's shapes."""

    def __init__(self, exchange: Exchange, fingerprint: str) -> None:
        self._exchange = exchange
        self._about: dict[str, Any] = {
            "id": exchange.id,
            "created": exchange.created,
            "model": exchange.model,
            "system_fingerprint": fingerprint,
        }

    def whole(self) -> Response:
        exchange = self._exchange
        content, refusal = (None, exchange.text) if exchange.refused else (exchange.text, None)
        answer = Completion(
            **self._about,
            choices=[Choice(message=AnswerMessage(content=content, refusal=refusal), finish_reason=exchange.finish)],
            usage=exchange.usage,
            nemo=exchange.nemo,
        )
        absent = {"nemo"} if answer.nemo is None else None
        return Response(answer.model_dump_json(exclude=absent), media_type="application/json")

    def stream(self, first: str, parts: AsyncIterator[str]) -> StreamingResponse:
        headers = {"X-Accel-Buffering": "no", "Cache-Control": "no-store"}
        return StreamingResponse(
            _with_pings(self._events(first, parts)), media_type="text/event-stream", headers=headers
        )

    async def _events(self, first: str, parts: AsyncIterator[str]) -> AsyncIterator[bytes]:
        try:
            nemo = self._exchange.nemo
            empty = {"refusal": ""} if self._exchange.refused else {"content": ""}
            yield self._chunk({"role": "assistant"} | empty, **({} if nemo is None else {"nemo": nemo}))
            if first:
                yield self._delta(first)
            async for part in parts:
                if part:
                    yield self._delta(part)
            yield self._chunk({}, finish_reason=self._exchange.finish)
            if self._exchange.request.wants_usage:
                yield self._sent([], usage=self._exchange.usage)
            yield _data("[DONE]")
        except ProductError as error:
            yield _data(json.dumps(openai_envelope(error)))
        except Exception as error:  # the status is sent; an event is what is left to say it with
            log.exception("a stream of a completion failed", extra={"kind": type(error).__name__})
            yield _data(json.dumps(openai_envelope(ProductError())))

    def _delta(self, text: str) -> bytes:
        return self._chunk({"refusal" if self._exchange.refused else "content": text})

    def _chunk(self, delta: dict[str, Any], finish_reason: Any = None, **more: Any) -> bytes:
        choice = ChunkChoice(index=0, delta=Delta(**delta), logprobs=None, finish_reason=finish_reason)
        usage = {"usage": None} if self._exchange.request.wants_usage else {}
        return self._sent([choice], **usage, **more)

    def _sent(self, choices: list[ChunkChoice], **more: Any) -> bytes:
        """What was not set is left out; what OpenAI sends as null is sent as null."""
        chunk = CompletionChunk(object="chat.completion.chunk", choices=choices, **self._about, **more)
        return _data(chunk.model_dump_json(exclude_unset=True))


async def _with_pings(events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """A sign of life while the model is silent, which readers of events skip."""
    async with aclosing(with_silences(events)) as news:
        async for event in news:
            yield PING if event is None else event


def _data(text: str) -> bytes:
    return f"data: {text}\n\n".encode()
