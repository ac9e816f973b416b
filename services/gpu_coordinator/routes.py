"""HTTP of the coordinator."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from services.gpu_coordinator.device import host_device
from services.gpu_coordinator.repository import TERMINAL
from services.gpu_coordinator.service import Queue, job_of, version_of
from shared.auth.dependencies import ForUser, FromService
from shared.schemas.coordinator import ClaimTask, FinishTask, GpuStatus, Job, ReportTask, SubmitTask, Task, TaskState
from shared.schemas.wire import Page, page_of

PING_S = 15.0


async def the_queue(request: Request) -> Queue:
    queue: Queue = request.app.state.queue
    return queue


TheQueue = Annotated[Queue, Depends(the_queue)]
Limit = Annotated[int, Query(ge=1, le=200)]
router = APIRouter()


@router.post("/queue/task", status_code=201)
async def submit(request: SubmitTask, queue: TheQueue, caller: FromService, response: Response) -> Task:
    """Durable when answered; 200 where the idempotency key was seen before."""
    task, new = await queue.submit(request)
    response.status_code = 201 if new else 200
    return task


@router.post("/queue/claim", response_model=Task | None)
async def claim(request: ClaimTask, queue: TheQueue, caller: FromService, http: Request) -> Task | Response:
    task = await queue.claim(request, http.is_disconnected)
    return Response(status_code=204) if task is None else task


@router.post("/queue/tasks/{task_id}/report")
async def report(task_id: str, request: ReportTask, queue: TheQueue, caller: FromService) -> Task:
    return await queue.report(task_id, request)


@router.post("/queue/tasks/{task_id}/finish")
async def finish(task_id: str, request: FinishTask, queue: TheQueue, caller: FromService) -> Task:
    return await queue.finish(task_id, request)


@router.get("/queue/tasks")
async def tasks(
    queue: TheQueue, caller: FromService, limit: Limit = 50, cursor: str | None = None, state: TaskState | None = None
) -> Page[Task]:
    found = await queue.store.page(None, limit + 1, cursor, state)
    return page_of(found, limit, lambda each: each.task_id)


@router.get("/queue/tasks/{task_id}")
async def task(task_id: str, queue: TheQueue, caller: FromService) -> Task:
    return await queue.store.get(task_id)


@router.delete("/queue/owner/{user_id}", status_code=204)
async def delete_owner(user_id: str, queue: TheQueue, caller: FromService) -> None:
    await queue.store.delete_owner(user_id)


@router.get("/jobs")
async def jobs(
    queue: TheQueue, user: ForUser, limit: Limit = 50, cursor: str | None = None, state: TaskState | None = None
) -> Page[Job]:
    found = await queue.store.page(user.user_id, limit + 1, cursor, state)
    return page_of([job_of(each) for each in found], limit, lambda each: each.job_id)


@router.get("/jobs/{job_id}")
async def job(job_id: str, queue: TheQueue, user: ForUser) -> Job:
    return job_of(await queue.store.get(job_id, user.user_id))


@router.get("/jobs/{job_id}/events")
async def job_events(
    job_id: str, queue: TheQueue, user: ForUser, last_event_id: Annotated[str | None, Header()] = None
) -> Response:
    """Server-sent events `progress` until the job ends; each holds the whole job, so resuming loses nothing.

    204, which tells a browser to stop asking, where the last event it saw was the end.
    """
    job = job_of(await queue.store.get(job_id, user.user_id))
    if job.state in TERMINAL and last_event_id == version_of(job):
        return Response(status_code=204)
    return StreamingResponse(_events(queue, job_id, user.user_id, last_event_id), media_type="text/event-stream")


async def _events(queue: Queue, job_id: str, owner: str, seen: str | None) -> AsyncIterator[bytes]:
    async for job in queue.watch(job_id, owner, PING_S):
        if job is None:
            yield b": ping\n\n"
        elif (version := version_of(job)) != seen:
            seen = None
            yield f"id: {version}\nevent: progress\ndata: {job.model_dump_json()}\n\n".encode()


@router.post("/jobs/{job_id}/cancel")
async def cancel(job_id: str, queue: TheQueue, user: ForUser) -> Job:
    """Queued: cancelled at once. Running: at the next chunk."""
    return job_of(await queue.cancel(job_id, user.user_id))


@router.post("/jobs/{job_id}/retry")
async def retry(job_id: str, queue: TheQueue, user: ForUser) -> Job:
    return job_of(await queue.retry(job_id, user.user_id))


@router.get("/gpu/status")
async def gpu_status(queue: TheQueue, caller: FromService) -> GpuStatus:
    counts = await queue.store.counts()
    waiting = {name: counts.get(name, 0) for name in ("interactive", "background")}
    return GpuStatus(devices=[host_device()], holders=[], queue=waiting, running=counts.get("running", 0))
