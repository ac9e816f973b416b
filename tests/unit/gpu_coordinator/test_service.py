"""Claims that wait, bells that ring, jobs that are watched."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from services.gpu_coordinator import service
from services.gpu_coordinator.memory import MemoryTaskStore
from services.gpu_coordinator.service import Doorbell, Queue, version_of
from shared.errors import StorageFailed
from shared.schemas.coordinator import ClaimTask, FinishTask, Job, Progress, ReportTask, Task
from shared.storage.redis import MemoryStore
from tests.unit.gpu_coordinator.contract import ANNA, BERT, LEASE_S, QUICK, work


class FlakyTasks(MemoryTaskStore):
    """PostgreSQL that may be away."""

    away = False

    async def get(self, task_id: str, owner: str | None = None) -> Task:
        if self.away:
            raise StorageFailed
        return await super().get(task_id, owner)

    async def recover(self) -> list[Task]:
        if self.away:
            raise RuntimeError("a kind of error nobody thought of")
        return await super().recover()


class DeafEvents(MemoryStore):
    """Redis that is away."""

    async def publish(self, channel: str, message: dict[str, object]) -> None:
        raise StorageFailed


@pytest.fixture
def tasks() -> FlakyTasks:
    return FlakyTasks(QUICK)


@pytest.fixture
def events() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def queue(tasks: FlakyTasks, events: MemoryStore) -> Queue:
    return Queue(tasks, events, Doorbell(), QUICK)


def claim(wait_s: float = 5, *kinds: str) -> ClaimTask:
    return ClaimTask(kinds=list(kinds) or ["transcribe"], worker="w/0", wait_s=wait_s)


async def test_a_waiting_worker_is_woken(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "POLL_S", 60.0)
    waiting = asyncio.create_task(queue.claim(claim(30)))
    await asyncio.sleep(0.05)
    task, _ = await queue.submit(work())
    async with asyncio.timeout(20):
        given = await waiting
    assert given is not None and given.task_id == task.task_id


async def test_a_ring_between_looking_and_waiting_is_heard(
    queue: Queue, tasks: FlakyTasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The task comes while the store is just answering that there is none."""
    monkeypatch.setattr(service, "POLL_S", 60.0)
    look, came = tasks.claim, False

    async def slow(kinds: list[str], worker: str, by: object = None) -> Task | None:
        nonlocal came
        found = await look(kinds, worker)
        if not came:
            came = True
            await queue.submit(work())
        return found

    tasks.claim = slow  # type: ignore[method-assign, assignment]
    async with asyncio.timeout(20):
        assert await queue.claim(claim(30)) is not None


async def test_a_lost_ring_costs_a_poll(queue: Queue, tasks: FlakyTasks) -> None:
    waiting = asyncio.create_task(queue.claim(claim()))
    await asyncio.sleep(0.05)
    await tasks.submit(work())  # by another coordinator, whose NOTIFY was lost
    assert await asyncio.wait_for(waiting, 30) is not None


async def test_an_empty_queue_answers_in_time(queue: Queue) -> None:
    began = time.perf_counter()
    assert await queue.claim(claim(0.2)) is None
    assert time.perf_counter() - began > 0.15
    assert await queue.claim(claim(0)) is None


async def test_other_kinds_do_not_wake(queue: Queue, tasks: FlakyTasks) -> None:
    looks = 0
    look = tasks.claim

    async def counted(kinds: list[str], worker: str, by: object = None) -> Task | None:
        nonlocal looks
        looks += 1
        return await look(kinds, worker)

    tasks.claim = counted  # type: ignore[method-assign, assignment]
    waiting = asyncio.create_task(queue.claim(claim(0.4)))
    await asyncio.sleep(0.05)
    for _ in range(50):
        await queue.submit(work("rebuild"))
    assert await waiting is None
    assert looks <= 3


async def test_nothing_is_given_to_a_worker_that_left(queue: Queue, tasks: FlakyTasks) -> None:
    left = asyncio.Event()

    async def gone() -> bool:
        return left.is_set()

    waiting = asyncio.create_task(queue.claim(claim(), gone))
    await asyncio.sleep(0.05)
    left.set()
    task, _ = await queue.submit(work())
    assert await waiting is None
    assert (await tasks.get(task.task_id)).attempt == 0


async def test_who_leaves_during_the_claim_loses_it_uncharged(queue: Queue, tasks: FlakyTasks) -> None:
    task, _ = await queue.submit(work())
    answers = iter([False, True])

    async def gone() -> bool:
        return next(answers)

    assert await queue.claim(claim(), gone) is None
    back = await tasks.get(task.task_id)
    assert (back.state, back.attempt) == ("queued", 0)


async def test_the_owner_hears_of_every_change_and_nobody_reads_along(queue: Queue, events: MemoryStore) -> None:
    await queue.submit(work(payload={"recording_id": "rec_1"}))
    task = await queue.claim(claim())
    assert task is not None
    report = ReportTask(token=task.token, progress=Progress(stage="speech", percent=40), cursor={"chunk": 2})
    await queue.report(task.task_id, report)
    await queue.finish(task.task_id, FinishTask(token=task.token, outcome="succeeded", result={"r": 1}))
    assert {channel for channel, _ in events.published} == {f"events:{ANNA}"}
    messages = [message for _, message in events.published]
    assert [message["state"] for message in messages] == ["queued", "running", "running", "succeeded"]
    assert all(set(message) == {"type", "job_id", "state", "progress"} for message in messages)
    assert messages[2]["progress"] == {"stage": "speech", "percent": 40.0, "eta_s": None}


async def test_work_of_the_house_is_told_to_nobody(queue: Queue, events: MemoryStore) -> None:
    await queue.submit(work(owner=None))
    assert not events.published


async def test_the_queue_works_without_redis(tasks: FlakyTasks) -> None:
    queue = Queue(tasks, DeafEvents(), Doorbell(), QUICK)
    await queue.submit(work())
    task = await queue.claim(claim())
    assert task is not None
    done = await queue.finish(task.task_id, FinishTask(token=task.token, outcome="succeeded"))
    assert done.state == "succeeded"


async def test_the_sweep_outlives_every_error(queue: Queue, tasks: FlakyTasks) -> None:
    await queue.submit(work())
    await queue.claim(claim())
    tasks.away = True
    sweeping = asyncio.create_task(queue.sweep())
    await asyncio.sleep(LEASE_S + 0.1)
    tasks.away = False
    await asyncio.sleep(0.2)
    assert not sweeping.done() and (await tasks.counts()) == {"background": 1}
    sweeping.cancel()


async def collect(watching: AsyncIterator[Job | None]) -> list[Job | None]:
    return [each async for each in watching]


async def test_a_job_is_watched_to_its_end(queue: Queue) -> None:
    submitted, _ = await queue.submit(work())
    watching = asyncio.create_task(collect(queue.watch(submitted.task_id, ANNA, 15)))
    await asyncio.sleep(0.05)
    task = await queue.claim(claim())
    assert task is not None
    for percent in (10, 10, 20):
        await asyncio.sleep(0.02)
        await queue.report(task.task_id, ReportTask(token=task.token, progress=Progress(percent=percent)))
    await asyncio.sleep(0.02)
    await queue.finish(task.task_id, FinishTask(token=task.token, outcome="succeeded"))
    jobs = await asyncio.wait_for(watching, 30)
    seen = [(job.state, job.progress.percent) for job in jobs if job]
    assert seen == [("queued", 0), ("running", 0), ("running", 10), ("running", 20), ("succeeded", 100)]


async def test_quiet_is_told(queue: Queue) -> None:
    task, _ = await queue.submit(work())
    jobs = list[Job | None]()

    async def watch() -> None:
        async for each in queue.watch(task.task_id, ANNA, 0.05):
            jobs.append(each)

    watching = asyncio.create_task(watch())
    async with asyncio.timeout(60):
        while jobs.count(None) < 3:
            await asyncio.sleep(0.01)
        await queue.cancel(task.task_id, ANNA)
        await watching
    assert [job.state for job in jobs if job] == ["queued", "cancelled"]


async def test_a_database_that_is_away_only_pauses_the_watch(queue: Queue, tasks: FlakyTasks) -> None:
    task, _ = await queue.submit(work())
    watching = asyncio.create_task(collect(queue.watch(task.task_id, ANNA, 0.05)))
    await asyncio.sleep(0.1)
    tasks.away = True
    await asyncio.sleep(0.2)
    tasks.away = False
    await queue.cancel(task.task_id, ANNA)
    jobs = await watching
    assert [job.state for job in jobs if job] == ["queued", "cancelled"]


async def test_the_watch_of_what_is_deleted_ends(queue: Queue, tasks: FlakyTasks) -> None:
    task, _ = await queue.submit(work())
    watching = asyncio.create_task(collect(queue.watch(task.task_id, ANNA, 0.05)))
    await asyncio.sleep(0.1)
    await tasks.delete_owner(ANNA)
    assert await asyncio.wait_for(watching, 30)
    assert await collect(queue.watch(task.task_id, BERT, 1)) == []


async def test_nobody_is_remembered_after_listening(queue: Queue) -> None:
    bell = queue._bell
    await asyncio.gather(*(queue.claim(claim(0.02)) for _ in range(20)))
    task, _ = await queue.submit(work())
    watching = asyncio.create_task(collect(queue.watch(task.task_id, ANNA, 15)))
    await asyncio.sleep(0.02)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    assert bell._ears == {}


def test_a_version_is_of_the_content() -> None:
    job = Job(
        job_id="job_1", kind="work", state="queued", progress=Progress(), attempt=0, created_at="2026-11-21T00:00:00Z"
    )
    assert version_of(job) == version_of(job.model_copy())
    assert version_of(job) != version_of(job.model_copy(update={"state": "running"}))
