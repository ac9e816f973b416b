"""Conversations, for the chat service."""

from __future__ import annotations

from fastapi import APIRouter, Response

from services.rag import conversations
from services.rag.routes import Cursor, Limit, TheDeliveries, TheLibrary
from shared.auth.dependencies import ForUser
from shared.errors import Invalid
from shared.etags import IfMatch, mark
from shared.schemas.rag import Conversation, ConversationSummary, EditConversation, Message, NewConversation
from shared.schemas.wire import Page, page_of

router = APIRouter(prefix="/rag/conversations")


@router.post("", status_code=201)
async def create(new: NewConversation, user: ForUser, library: TheLibrary) -> Conversation:
    return await library.run(user.user_id, lambda vault: conversations.create(vault, new.title))


@router.get("")
async def page(
    user: ForUser, library: TheLibrary, limit: Limit = 50, cursor: Cursor = None
) -> Page[ConversationSummary]:
    found = await library.run(user.user_id, lambda vault: conversations.page(vault, limit + 1, cursor))
    return page_of(found, limit, lambda each: each.conversation_id)


@router.get("/{conversation_id}")
async def get(conversation_id: str, user: ForUser, library: TheLibrary, response: Response) -> Conversation:
    found = await library.run(user.user_id, lambda vault: conversations.get(vault, conversation_id))
    mark(response, found.revision)
    return found


@router.patch("/{conversation_id}")
async def rename(
    conversation_id: str,
    change: EditConversation,
    user: ForUser,
    library: TheLibrary,
    expected: IfMatch,
    response: Response,
) -> Conversation:
    changed = await library.run(
        user.user_id, lambda vault: conversations.rename(vault, conversation_id, change.title, expected)
    )
    mark(response, changed.revision)
    return changed


@router.delete("/{conversation_id}", status_code=204)
async def delete(conversation_id: str, user: ForUser, library: TheLibrary, expected: IfMatch) -> None:
    await library.run(user.user_id, lambda vault: conversations.delete(vault, conversation_id, expected))
    await library.deletions.record(user.user_id, "conversation", conversation_id)


@router.put("/{conversation_id}/messages/{message_id}")
async def put_message(
    conversation_id: str, message_id: str, message: Message, user: ForUser, deliveries: TheDeliveries
) -> Message:
    """Add or replace one turn; durable when answered."""
    if message.message_id != message_id:
        raise Invalid("The id in the body is not the id in the address.")
    return await deliveries.message(user.user_id, conversation_id, message)
