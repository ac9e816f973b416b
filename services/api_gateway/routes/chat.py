"""Questions and conversations."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Request, Response

from services.api_gateway.relay import Relayed, relay
from services.api_gateway.routes import PROBLEMS, Cursor, Limit, Services
from shared.auth.dependencies import CurrentUser
from shared.etags import Conditions, mark
from shared.schemas.gemma import ChatRequest, ChatResponse
from shared.schemas.rag import Conversation, ConversationSummary, EditConversation
from shared.schemas.wire import Page

router = APIRouter(prefix="/gemma", tags=["chat"], responses=PROBLEMS, route_class=Relayed)


@router.post("/chat", response_model=ChatResponse)
async def chat(question: ChatRequest, request: Request, user: CurrentUser, services: Services) -> Response:
    """Ask. With `stream: true` the answer comes as server-sent events."""
    return await relay(services.gemma, request, user, body=question.model_dump_json(exclude_none=True).encode())


@router.get("/conversations")
async def conversations(
    user: CurrentUser, services: Services, limit: Limit = 50, cursor: Cursor = None
) -> Page[ConversationSummary]:
    return await services.gemma.conversations(user, limit=limit, cursor=cursor)


@router.get("/conversations/{conversation_id}", response_model=Conversation)
async def conversation(conversation_id: str, request: Request, user: CurrentUser, services: Services) -> Response:
    return await relay(services.gemma, request, user)


@router.patch("/conversations/{conversation_id}")
async def rename(
    conversation_id: str,
    change: EditConversation,
    user: CurrentUser,
    services: Services,
    if_match: Conditions,
    response: Response,
) -> Conversation:
    changed = await services.gemma.rename(user, conversation_id, change.title, if_match)
    mark(response, changed.revision)
    return changed


@router.delete("/conversations/{conversation_id}", status_code=204)
async def delete(conversation_id: str, user: CurrentUser, services: Services, if_match: Conditions) -> None:
    await services.gemma.delete(user, conversation_id, if_match)


@router.get("/messages/{message_id}/events", response_class=Response)
async def message_events(
    message_id: str,
    request: Request,
    user: CurrentUser,
    services: Services,
    last_event_id: Annotated[str | None, Header()] = None,
) -> Response:
    """Go on reading a streamed answer after `Last-Event-ID`."""
    return await relay(services.gemma, request, user)


@router.post("/messages/{message_id}/cancel", status_code=204)
async def cancel(message_id: str, user: CurrentUser, services: Services) -> None:
    await services.gemma.cancel(user, message_id)
