"""Memories and search."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from services.rag import decisions, repository
from services.rag.routes import Cursor, Limit, TheDeliveries, TheLibrary, TheReading
from services.rag.service import REBUILD
from shared.auth.dependencies import ForUser, FromService
from shared.clients.gpu_coordinator import CoordinatorClient
from shared.etags import IfMatch, mark
from shared.schemas.coordinator import Job, SubmitTask
from shared.schemas.rag import EditMemory, Memory, NewMemory, SearchHit, SearchRequest
from shared.schemas.wire import Page, page_of

router = APIRouter(prefix="/rag")


@router.post("/memory", status_code=201)
async def remember(new: NewMemory, user: ForUser, library: TheLibrary, response: Response) -> Memory:
    """Durable when answered."""
    memory = await library.remember(user.user_id, new)
    mark(response, memory.revision)
    return memory


@router.get("/memories")
async def memories(
    user: ForUser,
    library: TheLibrary,
    limit: Limit = 50,
    cursor: Cursor = None,
    memory_type: Annotated[str | None, Query(max_length=32)] = None,
    tag: Annotated[str | None, Query(max_length=64)] = None,
) -> Page[Memory]:
    found = await library.run(
        user.user_id, lambda vault: repository.list_memories(vault, limit + 1, cursor, memory_type, tag)
    )
    return page_of(found, limit, lambda memory: memory.memory_id)


@router.get("/memory/{memory_id}")
async def memory(memory_id: str, user: ForUser, library: TheLibrary, response: Response) -> Memory:
    found = await library.run(user.user_id, lambda vault: repository.get_memory(vault, memory_id))
    mark(response, found.revision)
    return found


@router.patch("/memory/{memory_id}")
async def edit(
    memory_id: str, change: EditMemory, user: ForUser, library: TheLibrary, expected: IfMatch, response: Response
) -> Memory:
    changed = await library.edit(user.user_id, memory_id, change, expected)
    mark(response, changed.revision)
    return changed


@router.delete("/memory/{memory_id}", status_code=204)
async def forget(memory_id: str, user: ForUser, library: TheLibrary, expected: IfMatch) -> None:
    await library.run(user.user_id, lambda vault: decisions.forget(vault, memory_id, expected))
    await library.deletions.record(user.user_id, "memory", memory_id)


@router.post("/search")
async def search(request: SearchRequest, user: ForUser, library: TheLibrary) -> list[SearchHit]:
    return await library.search(user.user_id, request)


@router.post("/rebuild-index", status_code=202)
async def rebuild(user: ForUser, request: Request, response: Response) -> Job:
    coordinator: CoordinatorClient = request.app.state.coordinator
    task = await coordinator.submit(SubmitTask(kind=REBUILD, payload={"user_id": user.user_id}, owner=user.user_id))
    response.headers["Location"] = f"/jobs/{task.task_id}"
    return await coordinator.job(user, task.task_id)


@router.delete("/owner/{user_id}", status_code=204)
async def delete_owner(
    user_id: str, caller: FromService, library: TheLibrary, reading: TheReading, deliveries: TheDeliveries
) -> None:
    await library.delete_owner(user_id)
    await reading.delete_files(user_id)
    await deliveries.delete_owner(user_id)
    await library.deletions.record(user_id, "account", user_id)
