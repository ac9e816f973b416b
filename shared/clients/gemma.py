"""The chat service as the gateway sees it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.auth.principal import Principal
from shared.clients import ServiceClient
from shared.schemas.rag import Conversation, ConversationSummary
from shared.schemas.wire import Page


class GemmaClient(ServiceClient):
    service = "gemma"

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
