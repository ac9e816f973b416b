"""Runs durable tasks: claims, renews, reports, and stops when the task is no longer its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from shared.clients.gpu_coordinator import CoordinatorClient
from shared.errors import Conflict, ProductError
from shared.schemas.coordinator import ClaimTask, FinishTask, Progress, ReportTask, Task

log = logging.getLogger(__name__)

RENEW_S = 5.0
LEASE_S = 30.0
RETRY_S = 2.0


class TaskCancelled(Exception):
    """The owner asked to stop."""


class LeaseLost(Exception):
    """Another worker may have this task by now; nothing more may be written."""


class TaskContext:
    """What a handler knows of its task and may say of it."""

    def __init__(self, client: CoordinatorClient, task: Task) -> None:
        self.task = task
        self._client = client
        self._progress = task.progress
        self._cursor = task.cursor
        self._renewed = asyncio.get_running_loop().time()
        self.stop: type[Exception] | None = None

    async def progress(
        self, stage: str, percent: float, eta_s: float | None = None, cursor: dict[str, Any] | None = None
    ) -> None:
        """Tell how far it is, and where to go on after a crash. Raises TaskCancelled or LeaseLost."""
        self._progress = Progress(stage=stage, percent=round(percent, 1), eta_s=eta_s)
        self._cursor = cursor or self._cursor
        await self._report()
        self.check()

    def check(self) -> None:
        """Raises TaskCancelled or LeaseLost where the work has lost its purpose."""
        if self.stop is not None:
            raise self.stop

    async def keep(self, running: asyncio.Future[Any]) -> None:
        """Renew the lease until `running` ends; cancel it when it must stop (self-fencing)."""
        while not running.done():
            await asyncio.wait({running}, timeout=RENEW_S)
            if not running.done():
                await self._report()
                if self.stop is not None:
                    running.cancel()
                    return

    async def _report(self) -> None:
        report = ReportTask(token=self.task.token, progress=self._progress, cursor=self._cursor)
        try:
            current = await self._client.report(self.task.task_id, report)
        except Conflict:
            self.stop = LeaseLost
            return
        except ProductError:
            if asyncio.get_running_loop().time() - self._renewed > LEASE_S * 0.8:
                self.stop = LeaseLost
            return
        self._renewed = asyncio.get_running_loop().time()
        if current.cancel_requested:
            self.stop = TaskCancelled


Handler = Callable[[TaskContext], Awaitable[dict[str, Any] | None]]


class TaskWorker:
    """`run()` serves for ever; cancel it to stop, then running tasks are given back without charge."""

    def __init__(
        self, client: CoordinatorClient, handlers: Mapping[str, Handler], worker_id: str, *, concurrency: int = 1
    ) -> None:
        self._client = client
        self._handlers = dict(handlers)
        self._worker_id = worker_id
        self._concurrency = concurrency

    async def run(self) -> None:
        await asyncio.gather(*(self._serve(number) for number in range(self._concurrency)))

    async def _serve(self, number: int) -> None:
        claim = ClaimTask(kinds=sorted(self._handlers), worker=f"{self._worker_id}/{number}", wait_s=10)
        while True:
            try:
                task = await self._client.claim(claim)
            except ProductError:
                await asyncio.sleep(RETRY_S)
                continue
            if task is not None:
                await self._run(task)

    async def _run(self, task: Task) -> None:
        context = TaskContext(self._client, task)
        running = asyncio.ensure_future(self._handlers[task.kind](context))
        keeping = asyncio.ensure_future(context.keep(running))
        try:
            finish = await self._outcome(context, running)
        except asyncio.CancelledError:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await self._finish(task, FinishTask(token=task.token, outcome="released"))
            raise
        finally:
            keeping.cancel()
        if finish is not None:
            await self._finish(task, finish)

    async def _outcome(self, context: TaskContext, running: asyncio.Future[Any]) -> FinishTask | None:
        """What to tell the coordinator; None when the task is not ours to speak of any more."""
        token = context.task.token
        try:
            result = await asyncio.shield(running)
        except TaskCancelled:
            return FinishTask(token=token, outcome="cancelled")
        except LeaseLost:
            return None
        except asyncio.CancelledError:
            if not running.cancelled():
                raise
            return FinishTask(token=token, outcome="cancelled") if context.stop is TaskCancelled else None
        except ProductError as error:
            retry = error.status >= 500
            return FinishTask(token=token, outcome="failed", error=error.detail, retry=retry)
        except Exception as error:  # a bug in a handler must not take the worker with it
            log.exception("a task failed", extra={"task_id": context.task.task_id, "kind": type(error).__name__})
            return FinishTask(token=token, outcome="failed", error="Something went wrong on our side.")
        return FinishTask(token=token, outcome="succeeded", result=result)

    async def _finish(self, task: Task, finish: FinishTask) -> None:
        """Say it until it is heard or the lease is over; saying it late changes nothing (fencing)."""
        for _ in range(int(LEASE_S / RETRY_S)):
            try:
                await self._client.finish(task.task_id, finish)
                return
            except Conflict:
                return
            except ProductError:
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(RETRY_S)
