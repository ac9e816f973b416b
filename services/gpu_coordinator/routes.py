"""HTTP of the coordinator."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi import Path as PathParam
from fastapi.responses import StreamingResponse

from services.gpu_coordinator.holders import Device
from services.gpu_coordinator.ledger import HolderRow, Said
from services.gpu_coordinator.repository import TERMINAL
from services.gpu_coordinator.service import Queue, job_of, version_of
from shared.auth.dependencies import ForUser, FromService
from shared.auth.principal import Caller
from shared.errors import Forbidden
from shared.schemas.coordinator import ClaimTask, FinishTask, Job, Name, ReportTask, SubmitTask, Task, TaskState
from shared.schemas.gpu import GpuStatus, Holder, RegisterHolder, SyncHolder
from shared.schemas.wire import Page, page_of
from shared.streams import PING, PING_S

SWAPS = 20


async def the_queue(request: Request) -> Queue:
    queue: Queue = request.app.state.queue
    return queue


TheQueue = Annotated[Queue, Depends(the_queue)]
HolderId = Annotated[Name, PathParam()]
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


@router.post("/queue/owner/{user_id}/wake", status_code=204)
async def wake_owner(user_id: str, queue: TheQueue, caller: FromService) -> None:
    await queue.store.wake(user_id)


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
            yield PING
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


@router.post("/gpu/holders/{holder_id}/register")
async def register(holder_id: HolderId, request: RegisterHolder, caller: FromService, http: Request) -> Holder:
    """A supervisor that starts anew. 404 where there is no such device here."""
    require_own(caller, holder_id)
    state = http.app.state
    device_id = _device_for(request, state.devices)
    if device_id is None:
        raise state.holders.turn_away(holder_id, request.device_kind)
    wanted = HolderRow(
        holder_id,
        device_id,
        bytes_resident=request.bytes_resident,
        bytes_parked=request.bytes_parked,
        kinds=tuple(request.kinds),
        instance=request.instance,
    )
    row = await state.holders.register(wanted)
    state.bell.ring_topic(f"gpu {row.device_id}")
    return _answer(state, row, row.heartbeat)


@router.post("/gpu/holders/{holder_id}/sync")
async def sync(holder_id: HolderId, device_id: str, request: SyncHolder, caller: FromService, http: Request) -> Holder:
    """409 `stale_instance`: let go of the memory and register anew."""
    require_own(caller, holder_id)
    state = http.app.state
    said = Said(**request.model_dump())
    row, now = await state.holders.sync(device_id, holder_id, said)
    return _answer(state, row, now)


def _answer(state: Any, row: HolderRow, now: float) -> Holder:
    sizes = {each.device_id: each.memory_total - each.reserve for each in state.devices}
    fits = row.bytes_resident <= sizes.get(row.device_id, row.bytes_resident)
    return holder_of(row, now, state.limits.lease_s).model_copy(update={"fits": fits})


def require_own(caller: Caller, holder_id: str) -> None:
    """A service speaks for its own models only: `gemma`, `gemma-2`. Raises Forbidden."""
    if holder_id != caller.service and not holder_id.startswith(f"{caller.service}-"):
        raise Forbidden("A service can hold its own models only.")


def _device_for(request: RegisterHolder, devices: Sequence[Device]) -> str | None:
    if request.device_id is not None:
        return request.device_id
    return next((device.device_id for device in devices if device.kind == request.device_kind), None)


def holder_of(row: HolderRow, now: float, lease_s: float) -> Holder:
    left_ms = None if row.deadline is None else max(0, int((row.deadline - now) * 1000))
    values = {name: getattr(row, name) for name in Holder.model_fields if hasattr(row, name)}
    return Holder.model_validate(values | {"kinds": list(row.kinds), "deadline_ms": left_ms, "lease_s": lease_s})


@router.get("/gpu/status")
async def gpu_status(queue: TheQueue, caller: FromService, http: Request) -> GpuStatus:
    state, counts = http.app.state, await queue.store.counts()
    waiting = {name: counts.get(name, 0) for name in ("interactive", "background")}
    held = await state.holders.holders()
    devices = await state.holders.devices()
    known = {each.device_id for each in devices}
    for device in devices:
        device.reserved_bytes = sum(row.reserved for row, _ in held if row.device_id == device.device_id)
    return GpuStatus(
        devices=devices,
        holders=[holder_of(row, now, state.limits.lease_s) for row, now in held if row.device_id in known],
        queue=waiting,
        running=counts.get("running", 0),
        oldest_wait_s=await queue.store.oldest(),
        last_swaps=await state.holders.swaps(SWAPS),
    )


@router.get("/gpu/events")
async def gpu_events(queue: TheQueue, caller: FromService, http: Request) -> StreamingResponse:
    """Server-sent events `status`: the whole picture now and after every change."""
    return StreamingResponse(_pictures(queue, caller, http), media_type="text/event-stream")


async def _pictures(queue: Queue, caller: FromService, http: Request) -> AsyncIterator[bytes]:
    topics = [f"gpu {each.device_id}" for each in await http.app.state.holders.devices()]
    last, quiet_s = "", 0.0
    with http.app.state.bell.listening(*topics) as ear:
        while not await http.is_disconnected():
            picture = (await gpu_status(queue, caller, http)).model_dump_json(
                exclude={"devices": {"__all__": {"seen_at"}}}
            )
            if picture != last:
                number = hashlib.sha256(picture.encode()).hexdigest()[:16]
                yield f"id: {number}\nevent: status\ndata: {picture}\n\n".encode()
                last, quiet_s = picture, 0.0
            elif quiet_s >= PING_S:
                yield PING
                quiet_s = 0.0
            await ear.wait(1.0)
            quiet_s += 1.0
            await asyncio.sleep(0.1)  # a storm of changes is one picture
