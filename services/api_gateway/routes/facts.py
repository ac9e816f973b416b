"""What the memory learnt by itself, its inbox, its audit and its map."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from services.api_gateway.relay import Relayed, relay
from services.api_gateway.routes import PROBLEMS, Cursor, Limit, Services
from shared.auth.dependencies import CurrentUser
from shared.etags import mark
from shared.schemas.facts import Audit, Fact, FactState, Graph, Repair
from shared.schemas.wire import Page

router = APIRouter(prefix="/rag", tags=["memory"], responses=PROBLEMS, route_class=Relayed)


@router.get("/facts")
async def facts(
    user: CurrentUser,
    services: Services,
    limit: Limit = 50,
    cursor: Cursor = None,
    state: FactState | None = None,
    subject: Annotated[str | None, Query(max_length=200)] = None,
) -> Page[Fact]:
    """Newest first, each with its evidence. `pending` ones are the inbox; `quarantined` ones read like orders."""
    return await services.rag.facts(user, limit=limit, cursor=cursor, state=state, subject=subject)


@router.get("/facts/{memory_id}", response_model=Fact)
async def fact(memory_id: str, request: Request, user: CurrentUser, services: Services) -> Response:
    return await relay(services.rag, request, user)


@router.post("/facts/{memory_id}/accept")
async def accept(memory_id: str, user: CurrentUser, services: Services, response: Response) -> Fact:
    """Out of the inbox into the memory. To change its words first: `PATCH /rag/memory/{memory_id}`."""
    return _marked(await services.rag.decide(user, memory_id, "accept"), response)


@router.post("/facts/{memory_id}/reject")
async def reject(memory_id: str, user: CurrentUser, services: Services, response: Response) -> Fact:
    """Never found, and never learnt again from the same words."""
    return _marked(await services.rag.decide(user, memory_id, "reject"), response)


@router.post("/facts/{memory_id}/release")
async def release(memory_id: str, user: CurrentUser, services: Services, response: Response) -> Fact:
    """Out of quarantine, because you have read it."""
    return _marked(await services.rag.decide(user, memory_id, "release"), response)


@router.post("/facts/{memory_id}/undo")
async def undo(memory_id: str, user: CurrentUser, services: Services, response: Response) -> Fact:
    """As it was before the last decision about it."""
    return _marked(await services.rag.decide(user, memory_id, "undo"), response)


def _marked(fact: Fact, response: Response) -> Fact:
    mark(response, fact.revision)
    return fact


@router.get("/audit")
async def look_through(user: CurrentUser, services: Services) -> Audit:
    """Duplicates, contradictions, loops, orphans, facts by state, and how far the index is."""
    return await services.rag.audit(user)


@router.post("/audit/repair")
async def repair(user: CurrentUser, services: Services) -> Repair:
    """Remove what nothing stands behind any more, and work out anew which fact replaced which; says what was done."""
    return await services.rag.repair(user)


@router.get("/graph")
async def memory_map(
    user: CurrentUser, services: Services, limit: Annotated[int, Query(ge=10, le=1_000)] = 300
) -> Graph:
    """The memory map: people, recordings, facts, notes and tags, the newest first, at most `limit` nodes."""
    return await services.rag.graph(user, limit)
