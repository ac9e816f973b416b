"""The worker against the queue in memory: what it must do when anything around it goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from services.gpu_coordinator.memory import MemoryTaskStore
from services.gpu_coordinator.settings import Settings
from shared.clients.gpu_coordinator import CoordinatorClient
from shared.errors import (
    AudioUnreadable,
    Conflict,
    NotFound,
    StaleInstance,
    StaleToken,
    StorageFailed,
    UpstreamUnavailable,
    from_problem,
)
from shared.gpu import worker
from shared.gpu.worker import Handler, LeaseLost, TaskCancelled, TaskContext, TaskWorker
from shared.lifecycle import background
from shared.schemas.coordinator import ClaimTask, FinishTask, ReportTask, SubmitTask, Task

LEASE_S = 3.0


class Wire:
    """The client's calls on a queue in memory, over a line that can be cut."""

    def __init__(self, store: MemoryTaskStore) -> None:
        self.store = store
        self.cut: set[str] = set()
        self.hung: set[str] = set()
        self.finishes: list[FinishTask] = []

    async def _line(self, call: str) -> None:
        while call in self.hung:
            await asyncio.sleep(0.01)
        if call in self.cut:
            raise UpstreamUnavailable

    async def claim(self, request: ClaimTask) -> Task | None:
        await self._line("claim")
        for _ in range(10):
            if task := await self.store.claim(request.kinds, request.worker):
                return task
            await asyncio.sleep(0.01)
        return None

    async def report(self, task_id: str, report: ReportTask) -> Task:
        await self._line("report")
        return await self.store.report(task_id, report)

    async def finish(self, task_id: str, finish: FinishTask) -> Task:
        await self._line("finish")
        self.finishes.append(finish)
        return await self.store.finish(task_id, finish)


@pytest.fixture
def wire() -> Wire:
    return Wire(MemoryTaskStore(Settings(lease_s=LEASE_S, retry_base_s=0.01)))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "RETRY_S", (0.02, 0.05))
    monkeypatch.setattr(worker, "DRAIN_S", 0.3)


@asynccontextmanager
async def working(wire: Wire, handler: Handler, concurrency: int = 1) -> AsyncIterator[None]:
    runner = TaskWorker(cast(CoordinatorClient, wire), {"work": handler}, "w", concurrency=concurrency)
    async with background(runner.run()):
        yield


async def submitted(wire: Wire, **values: Any) -> str:
    task, _ = await wire.store.submit(SubmitTask(kind="work", **values))
    return task.task_id


async def until(wire: Wire, task_id: str, *states: str, within_s: float = 60.0) -> Task:
    async with asyncio.timeout(within_s):
        while (task := await wire.store.get(task_id)).state not in states:
            await asyncio.sleep(0.01)
    return task


async def for_ever(context: TaskContext) -> None:
    await asyncio.sleep(60)


async def test_a_result_is_told(wire: Wire) -> None:
    async def handler(context: TaskContext) -> dict[str, Any]:
        await context.progress("half", 250, cursor={"chunk": 1})
        return {"found": context.task.payload["n"]}

    task_id = await submitted(wire, payload={"n": 3})
    async with working(wire, handler):
        done = await until(wire, task_id, "succeeded")
    assert done.result == {"found": 3} and done.cursor == {"chunk": 1} and done.progress.percent == 100


async def test_long_work_keeps_its_lease(wire: Wire) -> None:
    async def handler(context: TaskContext) -> None:
        await asyncio.sleep(LEASE_S * 1.5)

    task_id = await submitted(wire)
    async with working(wire, handler):
        while (await wire.store.get(task_id)).state != "succeeded":
            assert await wire.store.recover() == []
            await asyncio.sleep(0.05)
    assert (await wire.store.get(task_id)).attempt == 1


@pytest.mark.parametrize(
    ("error", "state", "said"),
    [
        (AudioUnreadable("No sound in it."), "failed", "No sound in it."),
        (NotFound(), "failed", "There is nothing here under that id."),
        (StorageFailed("later"), "dead", "later"),
        (ZeroDivisionError("secret words"), "dead", "Something went wrong on our side."),
    ],
)
async def test_only_our_own_faults_are_tried_again(wire: Wire, error: Exception, state: str, said: str) -> None:
    async def handler(context: TaskContext) -> None:
        raise error

    task_id = await submitted(wire, max_attempts=3)
    async with working(wire, handler):
        ended = await until(wire, task_id, "failed", "dead")
    assert (ended.state, ended.error) == (state, said)
    assert ended.attempt == (3 if state == "dead" else 1)


async def test_a_cancel_stops_the_handler(wire: Wire) -> None:
    stopped = asyncio.Event()

    async def handler(context: TaskContext) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            stopped.set()

    task_id = await submitted(wire)
    async with working(wire, handler):
        await until(wire, task_id, "running")
        await wire.store.cancel(task_id)
        assert (await until(wire, task_id, "cancelled")).finished_at
    assert stopped.is_set()


async def test_a_cancel_is_heard_with_progress(wire: Wire) -> None:
    heard: list[type[Exception]] = []

    async def handler(context: TaskContext) -> None:
        await wire.store.cancel(context.task.task_id)
        try:
            await context.progress("next", 10)
        except TaskCancelled as stop:
            heard.append(type(stop))
            raise

    task_id = await submitted(wire)
    async with working(wire, handler):
        await until(wire, task_id, "cancelled")
    assert heard == [TaskCancelled]


async def test_noise_while_cancelling_is_still_a_cancel(wire: Wire) -> None:
    async def handler(context: TaskContext) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError as stop:
            raise ValueError("cleaning up went wrong") from stop

    task_id = await submitted(wire)
    async with working(wire, handler):
        await until(wire, task_id, "running")
        await wire.store.cancel(task_id)
        await until(wire, task_id, "cancelled")


@pytest.mark.parametrize("how", ["cut", "hung"])
async def test_who_cannot_renew_stops_before_the_lease_is_over(wire: Wire, how: str) -> None:
    """Self-fencing: with a dead line and with one that never answers."""
    loop = asyncio.get_running_loop()
    times: dict[str, float] = {}
    stopped = asyncio.Event()

    async def handler(context: TaskContext) -> None:
        times["began"] = loop.time()
        getattr(wire, how).add("report")
        try:
            await asyncio.sleep(60)
        finally:
            times["stopped"] = loop.time()
            stopped.set()

    await submitted(wire)
    async with working(wire, handler):
        async with asyncio.timeout(60):
            await stopped.wait()
        assert await wire.store.recover() == []
    # The worker was sent away in the very moment in which the work stopped, and says nothing all the same.
    assert LEASE_S * 0.5 < times["stopped"] - times["began"] < LEASE_S
    assert wire.finishes == []


async def test_the_work_of_another_is_let_go(wire: Wire) -> None:
    ends: list[BaseException] = []

    async def handler(context: TaskContext) -> None:
        wire.store._token += 1
        wire.store._set(context.task.task_id, token=wire.store._next(), worker="heir")
        try:
            await context.progress("next", 50)
        except LeaseLost as lost:
            ends.append(lost)
            raise

    task_id = await submitted(wire)
    async with working(wire, handler):
        async with asyncio.timeout(60):
            while not ends:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
    assert wire.finishes == [] and (await wire.store.get(task_id)).worker == "heir"


async def test_a_short_silence_costs_nothing(wire: Wire) -> None:
    async def handler(context: TaskContext) -> dict[str, Any]:
        wire.cut |= {"report", "finish"}
        asyncio.get_running_loop().call_later(LEASE_S * 0.4, wire.cut.clear)
        await context.progress("half", 50)
        return {"kept": True}

    task_id = await submitted(wire)
    async with working(wire, handler):
        done = await until(wire, task_id, "succeeded")
    assert done.attempt == 1 and done.result == {"kept": True}


async def test_an_absent_coordinator_is_waited_for(wire: Wire) -> None:
    async def handler(context: TaskContext) -> None:
        return None

    wire.cut.add("claim")
    task_id = await submitted(wire)
    async with working(wire, handler):
        await asyncio.sleep(0.2)
        wire.cut.clear()
        await until(wire, task_id, "succeeded")


async def test_stopping_gives_work_back_uncharged(wire: Wire) -> None:
    task_id = await submitted(wire)
    async with working(wire, for_ever):
        await until(wire, task_id, "running")
    back = await wire.store.get(task_id)
    assert (back.state, back.attempt) == ("queued", 0)


@pytest.mark.parametrize("how", ["cut", "hung"])
async def test_stopping_does_not_wait_for_a_dead_coordinator(wire: Wire, how: str) -> None:
    task_id = await submitted(wire)
    async with asyncio.timeout(60):
        async with working(wire, for_ever):
            await until(wire, task_id, "running")
            getattr(wire, how).update({"claim", "report", "finish"})


async def test_stopping_while_a_result_is_being_told(wire: Wire) -> None:
    async def handler(context: TaskContext) -> dict[str, Any]:
        wire.cut.add("finish")
        return {"done": True}

    task_id = await submitted(wire)
    async with asyncio.timeout(60):
        async with working(wire, handler):
            await until(wire, task_id, "running")
            await asyncio.sleep(0.1)
            wire.cut.clear()
    assert (await wire.store.get(task_id)).result == {"done": True}


async def test_what_does_not_stop_is_not_given_away(wire: Wire) -> None:
    """A handler that ignores its cancellation may still write: only its lease may free the task."""
    stubborn = asyncio.Event()

    async def handler(context: TaskContext) -> None:
        while not stubborn.is_set():
            try:
                await asyncio.sleep(0.5)
            except asyncio.CancelledError:
                continue

    task_id = await submitted(wire)
    async with working(wire, handler):
        await until(wire, task_id, "running")
    assert (await wire.store.get(task_id)).state == "running" and wire.finishes == []
    stubborn.set()


@pytest.mark.parametrize("result", [{"n": {1, 2}}, {"n": float("nan")}, {"n": "\0"}, {"n": "x" * 300_000}, "text"])
async def test_an_unstorable_result_ends_the_task_not_the_worker(wire: Wire, result: Any) -> None:
    async def handler(context: TaskContext) -> Any:
        return result if context.task.payload else {"fine": True}

    bad, good = await submitted(wire, payload={"bad": True}), await submitted(wire)
    async with working(wire, handler):
        assert (await until(wire, bad, "failed")).error == "The result cannot be stored."
        await until(wire, good, "succeeded")


async def test_an_answer_nobody_understands_does_not_end_the_worker(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim: Callable[[ClaimTask], Awaitable[Task | None]] = wire.claim
    answers = iter([ValueError("not JSON"), KeyError("kind")])

    async def odd(request: ClaimTask) -> Task | None:
        for error in answers:
            raise error
        return await claim(request)

    monkeypatch.setattr(wire, "claim", odd)

    async def handler(context: TaskContext) -> None:
        return None

    task_id = await submitted(wire)
    async with working(wire, handler):
        await until(wire, task_id, "succeeded")


async def test_concurrency_is_a_bound(wire: Wire) -> None:
    now, most = 0, 0

    async def handler(context: TaskContext) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.2)
        now -= 1

    ids = [await submitted(wire) for _ in range(9)]
    async with working(wire, handler, concurrency=3):
        for task_id in ids:
            await until(wire, task_id, "succeeded")
    assert most == 3


def test_a_stale_token_is_known_on_the_workers_side() -> None:
    """Errors cross by their code; one that only the coordinator knew arrived as a fault to be tried again."""
    for code, kind in (("stale_token", StaleToken), ("stale_instance", StaleInstance)):
        error = from_problem({"code": code, "detail": "No."}, status=409)
        assert type(error) is kind and isinstance(error, Conflict)
