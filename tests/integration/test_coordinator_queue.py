"""One suite over the queue and its twin."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import services.gpu_coordinator.app as coordinator
from services.gpu_coordinator.memory import MemoryTaskStore
from services.gpu_coordinator.repository import PostgresTaskStore, TaskStore
from services.gpu_coordinator.settings import Settings
from shared.errors import Conflict, NotFound, StaleToken
from shared.schemas.coordinator import FinishTask, Progress, ReportTask, SubmitTask
from shared.storage import postgres

SETTINGS = Settings(lease_s=0.3, retry_base_s=0.05)


@pytest.fixture(params=["memory", "postgres"])
async def queue(request: pytest.FixtureRequest, postgres_url: str) -> AsyncIterator[TaskStore]:
    if request.param == "memory":
        yield MemoryTaskStore(SETTINGS)
        return
    pool = await postgres.connect(postgres_url, max_size=8)
    await postgres.migrate(pool, "gpu-coordinator", Path(coordinator.__file__).parent / "migrations")
    await postgres.migrate(pool, "gpu-coordinator", Path(coordinator.__file__).parent / "migrations")
    yield PostgresTaskStore(pool, SETTINGS)
    await pool.close()


async def add(queue: TaskStore, **values: object) -> str:
    task, _ = await queue.submit(SubmitTask.model_validate({"kind": "work", "owner": "usr_1"} | values))
    return task.task_id


async def test_a_task_runs_once_and_ends(queue: TaskStore) -> None:
    task_id = await add(queue, payload={"n": 1})
    task = await queue.claim(["work"], "w1")
    assert task is not None and task.task_id == task_id and task.payload == {"n": 1}
    assert await queue.claim(["work"], "w2") is None
    report = ReportTask(token=task.token, progress=Progress(stage="half", percent=50), cursor={"at": 3})
    assert (await queue.report(task_id, report)).cursor == {"at": 3}
    done = await queue.finish(task_id, FinishTask(token=task.token, outcome="succeeded", result={"ok": True}))
    assert done.state == "succeeded" and done.result == {"ok": True} and done.finished_at is not None


async def test_the_zombie_changes_nothing(queue: TaskStore) -> None:
    """A worker that froze past its lease wakes up: what it writes counts for nothing."""
    task_id = await add(queue)
    frozen = await queue.claim(["work"], "w1")
    assert frozen is not None
    await asyncio.sleep(0.4)
    assert [task.task_id for task in await queue.recover()] == [task_id]
    successor = await queue.claim(["work"], "w2")
    assert successor is not None and successor.token > frozen.token
    with pytest.raises(StaleToken):
        await queue.report(task_id, ReportTask(token=frozen.token))
    with pytest.raises(StaleToken):
        await queue.finish(task_id, FinishTask(token=frozen.token, outcome="succeeded", result={"zombie": True}))
    done = await queue.finish(task_id, FinishTask(token=successor.token, outcome="succeeded"))
    assert done.result is None


async def test_the_same_key_is_the_same_task(queue: TaskStore) -> None:
    first = await add(queue, idempotency_key="k")
    assert await add(queue, idempotency_key="k") == first
    assert await add(queue, idempotency_key="k", owner="usr_2") != first


async def test_interactive_goes_first_then_priority_then_age(queue: TaskStore) -> None:
    slow = await add(queue)
    urgent = await add(queue, priority=5)
    chat = await add(queue, task_class="interactive")
    order = [(await queue.claim(["work"], "w")).task_id for _ in range(3)]  # type: ignore[union-attr]
    assert order == [chat, urgent, slow]


async def test_failures_are_retried_then_dead(queue: TaskStore) -> None:
    task_id = await add(queue, max_attempts=2)
    for expected in ("queued", "dead"):
        task = None
        while task is None:
            task = await queue.claim(["work"], "w")
            await asyncio.sleep(0.02)
        ended = await queue.finish(task_id, FinishTask(token=task.token, outcome="failed", error="no"))
        assert ended.state == expected
    assert (await queue.retry(task_id, "usr_1")).state == "queued"
    with pytest.raises(Conflict):
        await queue.retry(task_id, "usr_1")


async def test_what_cannot_be_helped_is_not_retried(queue: TaskStore) -> None:
    task_id = await add(queue)
    task = await queue.claim(["work"], "w")
    assert task is not None
    ended = await queue.finish(task_id, FinishTask(token=task.token, outcome="failed", error="no audio", retry=False))
    assert ended.state == "failed" and ended.error == "no audio"


async def test_a_released_task_costs_no_attempt(queue: TaskStore) -> None:
    task_id = await add(queue)
    task = await queue.claim(["work"], "w")
    assert task is not None
    assert (await queue.finish(task_id, FinishTask(token=task.token, outcome="released"))).attempt == 0
    again = await queue.claim(["work"], "w")
    assert again is not None and again.attempt == 1


async def test_cancel_queued_and_running(queue: TaskStore) -> None:
    waiting = await add(queue)
    assert (await queue.cancel(waiting, "usr_1")).state == "cancelled"
    running = await add(queue)
    task = await queue.claim(["work"], "w")
    assert task is not None and task.task_id == running
    assert (await queue.cancel(running, "usr_1")).cancel_requested
    assert (await queue.report(running, ReportTask(token=task.token))).cancel_requested
    ended = await queue.finish(running, FinishTask(token=task.token, outcome="cancelled"))
    assert ended.state == "cancelled"


async def test_owners_see_their_own_only(queue: TaskStore) -> None:
    mine, theirs = await add(queue), await add(queue, owner="usr_2")
    assert [task.task_id for task in await queue.page("usr_1", 10, None, None)] == [mine]
    for act in (queue.get, queue.cancel, queue.retry):
        with pytest.raises(NotFound):
            await act(theirs, "usr_1")
    await queue.delete_owner("usr_1")
    with pytest.raises(NotFound):
        await queue.get(mine)


async def test_many_workers_never_share_a_task(queue: TaskStore) -> None:
    added = {await add(queue) for _ in range(40)}

    async def work(name: str) -> list[str]:
        found = []
        while (task := await queue.claim(["work"], name)) is not None:
            found.append(task.task_id)
        return found

    taken = [task for each in await asyncio.gather(*(work(f"w{n}") for n in range(8))) for task in each]
    assert len(taken) == 40 and set(taken) == added
