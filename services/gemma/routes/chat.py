"""Questions over the memory, and conversations."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from services.gemma.runs import Run, server_sent
from services.gemma.service import Chat
from services.gemma.summaries import Summaries
from shared.auth.dependencies import ForUser
from shared.clients.rag import RagClient
from shared.errors import NotFound
from shared.etags import Conditions, mark
from shared.schemas.gemma import ChatRequest, ChatResponse
from shared.schemas.ids import id_pattern
from shared.schemas.rag import Conversation, ConversationSummary, EditConversation
from shared.schemas.summaries import Summary, SummaryAccepted, SummaryRequest
from shared.schemas.wire import Page
from shared.streams import PING, with_silences

_CONVERSATION_ID = re.compile(id_pattern("cnv"))
_EVENT_ID = re.compile(r"[0-9]{1,9}")
router = APIRouter(prefix="/gemma")
recordings = APIRouter(prefix="/transcription")
"""Below the path that the gateway gives them."""


async def the_chat(request: Request) -> Chat:
    chat: Chat = request.app.state.chat
    return chat


async def the_rag(request: Request) -> RagClient:
    rag: RagClient = request.app.state.rag
    return rag


async def known_form(conversation_id: str) -> str:
    """What cannot be an id is nobody's, and never becomes part of another service's address."""
    if not _CONVERSATION_ID.fullmatch(conversation_id):
        raise NotFound
    return conversation_id


async def the_summaries(request: Request) -> Summaries:
    summaries: Summaries = request.app.state.summaries
    return summaries


Id = Annotated[str, Depends(known_form)]
TheSummaries = Annotated[Summaries, Depends(the_summaries)]
TheChat = Annotated[Chat, Depends(the_chat)]
TheRag = Annotated[RagClient, Depends(the_rag)]


@router.post("/chat", response_model=ChatResponse)
async def chat(request: ChatRequest, user: ForUser, chat: TheChat) -> ChatResponse | StreamingResponse:
    """JSON, or server-sent events with `stream: true`; either way the answer is stored when it is done."""
    run = await chat.start(user, request)
    if not request.stream:
        return await chat.wait(run)
    return _stream(run, 0)


def _stream(run: Run, after: int) -> StreamingResponse:
    headers = {"X-Message-Id": run.message_id, "X-Accel-Buffering": "no", "Cache-Control": "no-store"}
    return StreamingResponse(_events(run, after), media_type="text/event-stream", headers=headers)


async def _events(run: Run, after: int) -> AsyncIterator[bytes]:
    async with aclosing(with_silences(run.read(after))) as events:  # a client that leaves does not end the answer
        async for event in events:
            yield PING if event is None else server_sent(*event)


@router.get("/messages/{message_id}/events")
async def message_events(
    message_id: str, user: ForUser, chat: TheChat, last_event_id: Annotated[str | None, Header()] = None
) -> StreamingResponse:
    """Go on reading after `Last-Event-ID`."""
    after = int(last_event_id) if last_event_id and _EVENT_ID.fullmatch(last_event_id) else 0
    return _stream(chat.run_of(user, message_id), after)


@router.post("/messages/{message_id}/cancel", status_code=204)
async def cancel(message_id: str, user: ForUser, chat: TheChat) -> None:
    """Stops at the next token; what was written stays."""
    chat.cancel(user, message_id)


@router.get("/conversations")
async def conversations(
    user: ForUser,
    rag: TheRag,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(max_length=64)] = None,
) -> Page[ConversationSummary]:
    return await rag.conversations(user, limit=limit, cursor=cursor)


@router.get("/conversations/{conversation_id}")
async def conversation(
    conversation_id: Id, user: ForUser, rag: TheRag, chat: TheChat, response: Response
) -> Conversation:
    found = await rag.conversation(user, conversation_id)
    mark(response, found.revision)
    return chat.settled(user, found)


@router.patch("/conversations/{conversation_id}")
async def rename(
    conversation_id: Id,
    change: EditConversation,
    user: ForUser,
    rag: TheRag,
    chat: TheChat,
    if_match: Conditions,
    response: Response,
) -> Conversation:
    changed = await rag.rename_conversation(user, conversation_id, change.title, if_match)
    mark(response, changed.revision)
    return chat.settled(user, changed)


@router.delete("/conversations/{conversation_id}", status_code=204)
async def delete(conversation_id: Id, user: ForUser, rag: TheRag, if_match: Conditions) -> None:
    await rag.delete_conversation(user, conversation_id, if_match)


@recordings.post(
    "/{transcript_id}/summary",
    response_model=Summary | SummaryAccepted,
    responses={202: {"model": SummaryAccepted, "description": "The model is at work; follow Location."}},
)
async def summarise(
    transcript_id: str,
    user: ForUser,
    summaries: TheSummaries,
    response: Response,
    request: SummaryRequest | None = None,
    wait_s: Annotated[float, Query(ge=0, le=300)] = 60.0,
) -> Summary | SummaryAccepted:
    """The whole recording in short. Mode `model` answers 202 where it takes longer than `wait_s`."""
    made = await summaries.make(user, transcript_id, request or SummaryRequest(), wait_s)
    if isinstance(made, SummaryAccepted):
        response.status_code, response.headers["Location"] = 202, f"/jobs/{made.job_id}"
    return made


@recordings.get("/{transcript_id}/summary")
async def summary(transcript_id: str, user: ForUser, summaries: TheSummaries) -> Summary:
    """The one that was made last; `stale` where the transcript was changed since."""
    return await summaries.get(user, transcript_id)
