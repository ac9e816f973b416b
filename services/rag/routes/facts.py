"""Facts and what their user says to them; the audit and the map of a memory."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Response

from services.rag import audit, decisions, graph, knowledge
from services.rag.decisions import Decision
from services.rag.routes import Cursor, Limit, TheLibrary
from shared.auth.dependencies import ForUser
from shared.etags import mark
from shared.schemas.facts import Audit, Fact, FactState, Graph, Repair
from shared.schemas.wire import Page, page_of

router = APIRouter(prefix="/rag")


@router.get("/facts")
async def facts(
    user: ForUser,
    library: TheLibrary,
    limit: Limit = 50,
    cursor: Cursor = None,
    state: FactState | None = None,
    subject: Annotated[str | None, Query(max_length=200)] = None,
) -> Page[Fact]:
    found = await library.run(user.user_id, lambda vault: knowledge.page(vault, limit + 1, cursor, state, subject))
    return page_of(found, limit, lambda fact: fact.memory_id)


@router.get("/facts/{memory_id}")
async def fact(memory_id: str, user: ForUser, library: TheLibrary, response: Response) -> Fact:
    found = await library.run(user.user_id, lambda vault: knowledge.get(vault, memory_id))
    mark(response, found.revision)
    return found


async def _decided(user: ForUser, library: TheLibrary, response: Response, memory_id: str, decision: Decision) -> Fact:
    work = partial(decisions.decide, memory_id=memory_id, decision=decision)
    changed = await library.run(user.user_id, work)
    mark(response, changed.revision)
    return changed


@router.post("/facts/{memory_id}/accept")
async def accept(memory_id: str, user: ForUser, library: TheLibrary, response: Response) -> Fact:
    """Out of the inbox into the memory."""
    return await _decided(user, library, response, memory_id, "accept")


@router.post("/facts/{memory_id}/reject")
async def reject(memory_id: str, user: ForUser, library: TheLibrary, response: Response) -> Fact:
    """Never found, and never learnt again from the same words."""
    return await _decided(user, library, response, memory_id, "reject")


@router.post("/facts/{memory_id}/release")
async def release(memory_id: str, user: ForUser, library: TheLibrary, response: Response) -> Fact:
    """Out of quarantine, because its user has read it."""
    return await _decided(user, library, response, memory_id, "release")


@router.post("/facts/{memory_id}/undo")
async def undo(memory_id: str, user: ForUser, library: TheLibrary, response: Response) -> Fact:
    """As it was before the last decision about it."""
    changed = await library.run(user.user_id, lambda vault: decisions.undo(vault, memory_id))
    mark(response, changed.revision)
    return changed


@router.get("/audit")
async def look_through(user: ForUser, library: TheLibrary) -> Audit:
    return await library.run(user.user_id, audit.audit)


@router.post("/audit/repair")
async def repair(user: ForUser, library: TheLibrary) -> Repair:
    """Remove what nothing stands behind any more; says what was done."""
    return await library.run(user.user_id, audit.repair)


@router.get("/graph")
async def memory_map(user: ForUser, library: TheLibrary, limit: Annotated[int, Query(ge=10, le=1_000)] = 300) -> Graph:
    return await library.run(user.user_id, lambda vault: graph.graph(vault, limit))
