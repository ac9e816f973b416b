"""The queue as its users see it: claims that wait, jobs that tell how far they are."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from services.gpu_coordinator.repository import CHANNEL, TERMINAL, TaskStore
from services.gpu_coordinator.settings import Settings
from shared.errors import ProductError, StorageFailed
from shared.schemas.coordinator import ClaimTask, FinishTask, Job, Progress, ReportTask, SubmitTask, Task
from shared.storage.postgres import Pool, in_our_words
from shared.storage.redis import Store

log = logging.getLogger(__name__)
POLL_S = 1.0


def job_of(task: Task) -> Job:
    """The owner's view: no payload, no token, no worker."""
    progress = Progress(stage="done", percent=100, eta_s=0) if task.state == "succeeded" else task.progress
    return Job(job_id=task.task_id, **task.model_dump(include=set(Job.model_fields) - {"progress"}), progress=progress)


class Doorbell:
    """Wakes those who wait for a task; a lost ring costs a poll, never a task."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        self._rung.set()
        self._rung = asyncio.Event()

    async def wait(self, most_s: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._rung.wait(), most_s)


async def listen(pool: Pool, bell: Doorbell) -> None:
    """Ring on every NOTIFY; connect again whenever the connection is found dead (asyncpg does not notice alone)."""
    while True:
        with suppress(StorageFailed), in_our_words():
            async with pool.acquire() as connection:
                await connection.add_listener(CHANNEL, lambda *_: bell.ring())
                while True:
                    await asyncio.sleep(5)
                    await connection.execute("SELECT 1", timeout=2)
        await asyncio.sleep(1)


class Queue:
    """Durable work over a TaskStore, with a doorbell for workers and events for owners."""

    def __init__(self, store: TaskStore, events: Store, bell: Doorbell, settings: Settings) -> None:
        self.store = store
        self._events = events
        self._bell = bell
        self._settings = settings

    async def submit(self, request: SubmitTask) -> tuple[Task, bool]:
        task, new = await self.store.submit(request)
        await self._tell(task)
        return task, new

    async def claim(self, request: ClaimTask) -> Task | None:
        """The next task of these kinds, waiting up to `wait_s` for one."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + request.wait_s
        while True:
            task = await self.store.claim(request.kinds, request.worker)
            left_s = deadline - loop.time()
            if task is not None or left_s <= 0:
                break
            await self._bell.wait(min(POLL_S, left_s))
        if task is not None:
            await self._tell(task)
        return task

    async def report(self, task_id: str, report: ReportTask) -> Task:
        return await self._told(await self.store.report(task_id, report))

    async def finish(self, task_id: str, finish: FinishTask) -> Task:
        return await self._told(await self.store.finish(task_id, finish))

    async def cancel(self, task_id: str, owner: str | None) -> Task:
        return await self._told(await self.store.cancel(task_id, owner))

    async def retry(self, task_id: str, owner: str | None) -> Task:
        return await self._told(await self.store.retry(task_id, owner))

    async def sweep(self) -> None:
        """For ever: give back what dead workers held."""
        while True:
            try:
                for task in await self.store.recover():
                    log.warning("took a task back from a silent worker", extra={"task_id": task.task_id})
                    await self._told(task)
            except ProductError:
                log.warning("could not look for expired leases")
            await asyncio.sleep(self._settings.sweep_s)

    async def watch(self, task_id: str, owner: str | None) -> AsyncIterator[Job]:
        """The job now and after every change, until it ends."""
        last: Any = None
        while True:
            job = job_of(await self.store.get(task_id, owner))
            if job != last:
                last = job
                yield job
            if job.state in TERMINAL:
                return
            await self._bell.wait(POLL_S)

    async def _told(self, task: Task) -> Task:
        await self._tell(task)
        return task

    async def _tell(self, task: Task) -> None:
        self._bell.ring()
        if task.owner is None:
            return
        message = {"type": "job", "job_id": task.task_id, "state": task.state, "progress": task.progress.model_dump()}
        # An event is a courtesy; the row is the truth.
        with suppress(StorageFailed):
            await self._events.publish(f"events:{task.owner}", message)
