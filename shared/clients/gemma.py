"""The chat service as the gateway sees it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from shared.auth.principal import Principal
from shared.clients import ServiceClient
from shared.schemas.gemma import ChatRequest
from shared.schemas.rag import Conversation, ConversationSummary
from shared.schemas.wire import Page

Events = AsyncIterator[tuple[str, dict[str, Any]]]


class GemmaClient(ServiceClient):
    service = "gemma"

    @asynccontextmanager
    async def ask(self, user: Principal, question: ChatRequest) -> AsyncIterator[tuple[str, Events]]:
        """The id of the answer's message, and its events as they come. Leaving the block does not stop the answer."""
        body = question.model_copy(update={"stream": True}).model_dump_json(exclude_none=True).encode()
        headers = {"Content-Type": "application/json"}
        async with self.stream("POST", "/gemma/chat", user=user, content=body, headers=headers) as answer:
            yield answer.headers["X-Message-Id"], _events(answer.content)

    async def conversation(self, user: Principal, conversation_id: str) -> Conversation:
        found = await self.json("GET", f"/gemma/conversations/{conversation_id}", user=user)
        return Conversation.model_validate(found)

    async def cancel(self, user: Principal, message_id: str) -> None:
        await self.json("POST", f"/gemma/messages/{message_id}/cancel", user=user)

    async def conversations(self, user: Principal, **params: Any) -> Page[ConversationSummary]:
        found = await self.json("GET", "/gemma/conversations", user=user, params=params)
        return Page[ConversationSummary].model_validate(found)

    async def rename(
        self, user: Principal, conversation_id: str, title: str, headers: Mapping[str, str] | None = None
    ) -> Conversation:
        path = f"/gemma/conversations/{conversation_id}"
        found = await self.json("PATCH", path, user=user, body={"title": title}, headers=headers)
        return Conversation.model_validate(found)

    async def delete(self, user: Principal, conversation_id: str, headers: Mapping[str, str] | None = None) -> None:
        await self.json("DELETE", f"/gemma/conversations/{conversation_id}", user=user, headers=headers)


async def _events(content: aiohttp.StreamReader) -> Events:
    """(event, data) of server-sent events; pings have neither."""
    held = b""
    async for piece in content.iter_any():
        *blocks, held = (held + piece).split(b"\n\n")
        for block in blocks:
            fields = dict(line.split(": ", 1) for line in block.decode().splitlines() if not line.startswith(":"))
            if "event" in fields:
                yield fields["event"], json.loads(fields["data"])
