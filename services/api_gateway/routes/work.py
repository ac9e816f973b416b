"""Jobs, the queue and the machine."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated

from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import StreamingResponse

from services.api_gateway.relay import Relayed, relay
from services.api_gateway.routes import PROBLEMS, Cursor, Limit, Services
from shared.auth.dependencies import AdminUser, CurrentUser
from shared.errors import ProductError
from shared.schemas.coordinator import Job, SubmitTask, Task
from shared.schemas.gpu import GpuStatus
from shared.schemas.wire import Page
from shared.storage.redis import Store
from shared.streams import PING, with_silences

router = APIRouter(tags=["work"], responses=PROBLEMS, route_class=Relayed)


@router.get("/jobs")
async def jobs(user: CurrentUser, services: Services, limit: Limit = 50, cursor: Cursor = None) -> Page[Job]:
    return await services.coordinator.jobs(user, limit=limit, cursor=cursor)


@router.get("/jobs/{job_id}", response_model=Job)
async def job(job_id: str, request: Request, user: CurrentUser, services: Services) -> Response:
    return await relay(services.coordinator, request, user)


@router.get("/jobs/{job_id}/events", response_class=Response)
async def job_events(
    job_id: str,
    request: Request,
    user: CurrentUser,
    services: Services,
    last_event_id: Annotated[str | None, Header()] = None,
) -> Response:
    """Server-sent events: the whole job at each change, until it ends."""
    return await relay(services.coordinator, request, user)


@router.post("/jobs/{job_id}/cancel")
async def cancel(job_id: str, user: CurrentUser, services: Services) -> Job:
    return await services.coordinator.cancel(user, job_id)


@router.post("/jobs/{job_id}/retry")
async def retry(job_id: str, user: CurrentUser, services: Services) -> Job:
    return await services.coordinator.retry(user, job_id)


@router.post("/queue/task", status_code=201)
async def submit(task: SubmitTask, admin: AdminUser, services: Services) -> Task:
    return await services.coordinator.submit(task)


@router.get("/queue/tasks")
async def tasks(admin: AdminUser, services: Services, limit: Limit = 50, cursor: Cursor = None) -> Page[Task]:
    return await services.coordinator.tasks(limit=limit, cursor=cursor)


@router.get("/queue/tasks/{task_id}")
async def task(task_id: str, admin: AdminUser, services: Services) -> Task:
    return await services.coordinator.task(task_id)


@router.get("/gpu/status")
async def gpu_status(user: CurrentUser, services: Services) -> GpuStatus:
    return await services.coordinator.gpu_status()


@router.get("/gpu/events", response_class=Response)
async def gpu_events(request: Request, user: CurrentUser, services: Services) -> Response:
    """Server-sent events `status`: the whole picture of `/gpu/status`, now and after every change."""
    return await relay(services.coordinator, request, user)


@router.get("/events", response_class=Response)
async def events(request: Request, user: CurrentUser) -> StreamingResponse:
    """Everything that happens to this user's work, as server-sent events."""
    store: Store = request.app.state.store
    return StreamingResponse(_events(store, user.user_id), media_type="text/event-stream")


async def _events(store: Store, user_id: str) -> AsyncIterator[bytes]:
    """Events are news, not truth: after a gap a client reads the objects themselves."""
    number = 0
    try:
        async with store.subscribe(f"events:{user_id}") as heard, aclosing(with_silences(heard)) as news:
            yield b": hello\n\n"
            async for each in news:
                if each is None:
                    yield PING
                    continue
                _, message = each
                number += 1
                kind = message.get("type", "message")
                yield f"id: {number}\nevent: {kind}\ndata: {json.dumps(message)}\n\n".encode()
    except ProductError:
        return
