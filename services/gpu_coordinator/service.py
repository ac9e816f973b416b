"""The queue as its users see it: claims that wait, jobs that tell how far they are."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from services.gpu_coordinator.holders import CHANNEL as HOLDERS
from services.gpu_coordinator.holders import PostgresHolders
from services.gpu_coordinator.repository import CHANNEL, TERMINAL, TaskStore
from services.gpu_coordinator.settings import Settings
from shared.errors import NotFound, StorageFailed
from shared.lifecycle import comes
from shared.schemas.coordinator import ClaimTask, FinishTask, Job, Progress, ReportTask, SubmitTask, Task
from shared.storage.postgres import Pool, in_our_words
from shared.storage.redis import Store
from shared.telemetry import Metrics, here

log = logging.getLogger(__name__)
POLL_S = 1.0
FORGET_S = 3600.0
"""Between two looks for records that are too old, in seconds."""
Gone = Callable[[], Awaitable[bool]]
"""True once nobody reads the answer any more."""


async def never() -> bool:
    return False


def job_of(task: Task) -> Job:
    """The owner's view: no payload, no token, no worker."""
    progress = Progress(stage="done", percent=100, eta_s=0) if task.state == "succeeded" else task.progress
    return Job(job_id=task.task_id, **task.model_dump(include=set(Job.model_fields) - {"progress"}), progress=progress)


def version_of(job: Job) -> str:
    """The same for the same job, after a restart too: what `Last-Event-ID` brings back."""
    return hashlib.sha256(job.model_dump_json().encode()).hexdigest()[:16]


class Ear:
    """Hears what rings from the moment it is made, so nothing is missed between looking and waiting."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def hear(self) -> None:
        self._rung.set()

    async def wait(self, most_s: float) -> None:
        await comes(self._rung, most_s)
        self._rung.clear()


class Doorbell:
    """Wakes those who wait for work of a kind or for news of a task; a lost ring costs a poll, never a task."""

    def __init__(self) -> None:
        self._ears: dict[str, set[Ear]] = {}

    @contextmanager
    def listening(self, *topics: str) -> Iterator[Ear]:
        ear = Ear()
        for topic in topics:
            self._ears.setdefault(topic, set()).add(ear)
        try:
            yield ear
        finally:
            for topic in topics:
                self._ears[topic].discard(ear)
                if not self._ears[topic]:
                    del self._ears[topic]

    def ring(self, state: str, kind: str, task_id: str) -> None:
        """A task changed: its watchers hear it, and where it waits, the workers of its kind."""
        for topic in (task_id, kind) if state == "queued" else (task_id,):
            for ear in self._ears.get(topic, ()):
                ear.hear()

    def ring_topic(self, topic: str) -> None:
        for ear in self._ears.get(topic, ()):
            ear.hear()

    def ring_all(self) -> None:
        for ears in self._ears.values():
            for ear in ears:
                ear.hear()


async def listen(pool: Pool, bell: Doorbell) -> None:
    """Ring on every NOTIFY; connect again whenever the connection is found dead (asyncpg does not notice alone)."""

    def heard(_connection: Any, _pid: int, channel: str, payload: object) -> None:
        words = str(payload).split(" ")
        if channel == HOLDERS and words:
            bell.ring_topic(f"gpu {words[0]}")
        elif len(words) == 3:
            bell.ring(*words)
        else:
            bell.ring_all()

    while True:
        try:
            with in_our_words():
                async with pool.acquire() as connection:
                    await _attend(connection, heard, bell)
        except Exception as error:  # only its own cancellation may end it; until then polling does the work
            log.warning("not listening to the database", extra={"kind": type(error).__name__})
        await asyncio.sleep(1)


async def _attend(connection: Any, heard: Any, bell: Doorbell) -> None:
    for channel in (CHANNEL, HOLDERS):
        await connection.add_listener(channel, heard)
    try:
        bell.ring_all()  # what rang while nobody listened
        while True:
            await asyncio.sleep(5)
            await connection.execute("SELECT 1", timeout=2)
    finally:
        if not connection.is_closed():
            with suppress(Exception):
                for channel in (CHANNEL, HOLDERS):
                    await connection.remove_listener(channel, heard)


async def hear_replies(events: Store, bell: Doorbell, holders: PostgresHolders) -> None:
    """For ever: what holders say on Redis is a ring; what they mean is in their rows."""
    while True:
        try:
            names = sorted({row.holder_id for row, _ in await holders.holders()} | {"gemma", "transcription"})
            channels = [f"{name}_{word}" for name in names for word in ("paused", "resumed")]
            async with events.subscribe(*channels) as messages:
                async for _channel, message in messages:
                    bell.ring_topic(f"gpu {message.get('device')}")
        except Exception as error:  # polling does the work meanwhile
            log.warning("not listening to Redis", extra={"kind": type(error).__name__})
        await asyncio.sleep(1)


async def forget_old(store: TaskStore, holders: PostgresHolders, days: float) -> None:
    """For ever: what is only for looking back goes after its time, so that the tables stay small."""
    while True:
        try:
            gone = await store.forget(days)
            await holders.forget_old()
            log.info("old records were removed", extra={"tasks": gone})
        except Exception as error:  # the next hour tries again
            log.warning("could not remove old records", extra={"kind": type(error).__name__})
        await asyncio.sleep(FORGET_S)


class Queue:
    """Durable work over a TaskStore, with a doorbell for workers and events for owners."""

    def __init__(
        self, store: TaskStore, events: Store, bell: Doorbell, settings: Settings, metrics: Metrics | None = None
    ) -> None:
        self.store = store
        self._metrics = metrics
        self._events = events
        self._bell = bell
        self._settings = settings

    async def submit(self, request: SubmitTask) -> tuple[Task, bool]:
        task, new = await self.store.submit(request)
        await self._tell(task)
        return task, new

    async def claim(self, request: ClaimTask, gone: Gone = never) -> Task | None:
        """The next task of these kinds, waiting up to `wait_s` for one; None once the worker is `gone`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + request.wait_s
        by = request.holder
        topics = [*request.kinds, *([f"gpu {by.device_id}"] if by is not None else [])]
        with self._bell.listening(*topics) as ear:
            while not await gone():
                task = await self.store.claim(request.kinds, request.worker, request.holder)
                if task is not None:
                    self._waited(task)
                    return await self._handed(task, gone)
                left_s = deadline - loop.time()
                if left_s <= 0 or (by is not None and not await self.store.granted(by)):
                    break
                await ear.wait(min(POLL_S, left_s))
        return None

    def _waited(self, task: Task) -> None:
        if self._metrics is not None and task.attempt == 1:
            waited_s = (datetime.now(UTC) - task.created_at).total_seconds()
            self._metrics.took("nemo_queue_seconds", max(0.0, waited_s), task_class=task.task_class)

    async def _handed(self, task: Task, gone: Gone) -> Task | None:
        """A worker that left while its claim was committed must not keep the task until the lease is over."""
        if await gone():
            await self.finish(task.task_id, FinishTask(token=task.token, outcome="released"))
            return None
        return await self._told(task)

    async def report(self, task_id: str, report: ReportTask) -> Task:
        return await self._told(await self.store.report(task_id, report))

    async def finish(self, task_id: str, finish: FinishTask) -> Task:
        task = await self._told(await self.store.finish(task_id, finish))
        here().count("nemo_queue_ended_total", outcome=finish.outcome)
        return task

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
                    here().count("nemo_queue_ended_total", outcome="worker_lost")
                    await self._told(task)
            except Exception as error:  # tasks of dead workers would wait for ever if this ended
                log.warning("could not look for expired leases", extra={"kind": type(error).__name__})
            await asyncio.sleep(self._settings.sweep_s)

    async def watch(self, task_id: str, owner: str | None, quiet_s: float) -> AsyncIterator[Job | None]:
        """The job now and after every change, until it ends; None whenever `quiet_s` passed without one."""
        loop = asyncio.get_running_loop()
        last: Job | None = None
        told_at = loop.time()
        with self._bell.listening(task_id) as ear:
            while True:
                job = last
                try:
                    job = job_of(await self.store.get(task_id, owner))
                except NotFound:
                    return
                except StorageFailed:
                    log.info("a watched job cannot be read for now", extra={"task_id": task_id})
                if job is not None and job != last:
                    last, told_at = job, loop.time()
                    yield job
                elif loop.time() - told_at >= quiet_s:
                    told_at = loop.time()
                    yield None
                if last is not None and last.state in TERMINAL:
                    return
                await ear.wait(min(POLL_S, quiet_s))

    async def _told(self, task: Task) -> Task:
        await self._tell(task)
        return task

    async def _tell(self, task: Task) -> None:
        self._bell.ring(task.state, task.kind, task.task_id)
        if task.owner is None:
            return
        message = {"type": "job", "job_id": task.task_id, "state": task.state, "progress": task.progress.model_dump()}
        # An event is a courtesy; the row is the truth.
        with suppress(StorageFailed):
            await self._events.publish(f"events:{task.owner}", message)
