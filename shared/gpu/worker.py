"""Runs durable tasks: claims, renews, reports, and stops when the task is no longer its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pydantic import ValidationError

from shared import tracing
from shared.clients.gpu_coordinator import ORIGIN, CoordinatorClient
from shared.errors import Conflict, ProductError, VaultLocked
from shared.gpu.holder import Holder, Preempted
from shared.logging import request_id
from shared.schemas.coordinator import ClaimTask, FinishTask, Progress, ReportTask, Task

log = logging.getLogger(__name__)

RENEW_S = 5.0
"""Seconds between renewals; a sixth of the lease where that is less."""
SAFE = 0.8
"""Part of a lease after which work that was not renewed stops itself; the rest is for clocks and slow answers."""
RETRY_S = (0.25, 5.0)
"""First and longest wait before an unanswered call is made again."""
LOCKED_S = 60.0
"""How long a task rests whose owner's vault is locked; unlocking it wakes the task."""
DRAIN_S = 3.0
"""How long a worker that is told to stop waits for its handler, and then for the coordinator."""


class TaskCancelled(Exception):
    """The owner asked to stop."""


class LeaseLost(Exception):
    """Another worker may have this task by now; nothing more may be written."""


class TaskContext:
    """What a handler knows of its task and may say of it."""

    def __init__(self, client: CoordinatorClient, task: Task, holder: Holder | None = None) -> None:
        self.task = task
        self._client = client
        self._holder = holder
        self._progress = task.progress
        self._cursor = task.cursor
        self._renewed = asyncio.get_running_loop().time()
        self._renew_s = min(RENEW_S, task.lease_s / 6)
        self.stop: type[Exception] | None = None

    async def progress(
        self, stage: str, percent: float, eta_s: float | None = None, cursor: dict[str, Any] | None = None
    ) -> None:
        """Tell how far it is, and where to go on after a crash. Raises TaskCancelled, LeaseLost or Preempted."""
        self._progress = Progress(stage=stage, percent=round(min(100.0, max(0.0, percent)), 1), eta_s=eta_s)
        self._cursor = self._cursor if cursor is None else cursor
        await self._report()
        self.check()

    async def wait_locked(self) -> None:
        """Tell its owner why it waits."""
        self._progress = self._progress.model_copy(update={"stage": "vault_locked", "eta_s": None})
        await self._report()

    def check(self) -> None:
        """Raises TaskCancelled or LeaseLost where the work has lost its purpose, Preempted where others go first."""
        if self.stop is not None:
            raise self.stop
        if self._holder is not None and not self._holder.turn:
            raise Preempted

    async def keep(self, running: asyncio.Future[Any]) -> None:
        """Renew the lease until `running` ends; cancel it when it must stop (self-fencing)."""
        wait_s = self._renew_s
        while True:
            await asyncio.wait({running}, timeout=max(0.0, min(wait_s, self._safe_s())))
            if running.done():
                return
            wait_s = self._renew_s if await self._report() else min(self._renew_s, 1.0)
            if self.stop is not None:
                running.cancel()
                return

    def _safe_s(self) -> float:
        """Seconds for which nobody else can have this task."""
        return self._renewed + self.task.lease_s * SAFE - asyncio.get_running_loop().time()

    async def _report(self) -> bool:
        """True where the lease was renewed; it counts from before the call, whose answer may have been slow."""
        report = ReportTask(token=self.task.token, progress=self._progress, cursor=self._cursor)
        asked = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(max(0.0, self._safe_s())):
                current = await self._client.report(self.task.task_id, report)
        except Conflict:
            self.stop = LeaseLost
            return False
        except (ProductError, TimeoutError):
            if self._safe_s() <= 0:
                self.stop = LeaseLost
            return False
        self._renewed = asked
        if current.cancel_requested:
            self.stop = TaskCancelled
        return True


@contextmanager
def _for_its_request(task: Task) -> Iterator[None]:
    """Log lines, calls and spans inside belong to the request that the task came from."""
    origin = task.payload.get(ORIGIN)
    origin = origin if isinstance(origin, dict) else {}
    token = request_id.set(str(origin.get("request_id") or "-"))
    try:
        with tracing.span(
            f"task {task.kind}", "consumer", parent=origin.get("traceparent"), nemo__task__attempt=task.attempt
        ):
            log.info("a task begins", extra={"task_id": task.task_id, "kind": task.kind, "attempt": task.attempt})
            yield
    finally:
        request_id.reset(token)


Handler = Callable[[TaskContext], Awaitable[dict[str, Any] | None]]


class TaskWorker:
    """`run()` serves for ever; cancel it to stop, then running tasks are given back without charge."""

    def __init__(
        self,
        client: CoordinatorClient,
        handlers: Mapping[str, Handler],
        worker_id: str,
        *,
        concurrency: int = 1,
        holder: Holder | None = None,
    ) -> None:
        """With `holder` nothing is claimed while its model is not in memory or others go first."""
        self._holder = holder
        self._client = client
        self._handlers = dict(handlers)
        self._worker_id = worker_id
        self._concurrency = concurrency

    async def run(self) -> None:
        await asyncio.gather(*(self._serve(number) for number in range(self._concurrency)))

    async def _serve(self, number: int) -> None:
        claim = ClaimTask(kinds=sorted(self._handlers), worker=f"{self._worker_id}/{number}", wait_s=10)
        wait_s, most_s = RETRY_S
        while True:
            try:
                if self._holder is not None:
                    claim = claim.model_copy(update={"holder": await self._holder.turn_comes()})
                task = await self._client.claim(claim)
                wait_s = RETRY_S[0]
                if task is not None:
                    with _for_its_request(task):
                        await self._run(task)
            except Exception as error:  # nothing may end a worker but its own cancellation
                if not isinstance(error, ProductError):
                    log.exception("the worker stumbled", extra={"kind": type(error).__name__})
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, most_s)

    async def _run(self, task: Task) -> None:
        context = TaskContext(self._client, task, self._holder)
        running = asyncio.ensure_future(self._handlers[task.kind](context))
        keeping = asyncio.ensure_future(context.keep(running))
        finish: FinishTask | None = FinishTask(token=task.token, outcome="released")
        try:
            await asyncio.wait({running})
            finish = verdict(context, running)
            if finish is not None and finish.after_s:
                await context.wait_locked()
            await self._finish(task, finish, task.lease_s)
        except asyncio.CancelledError:
            ours = context.stop is not LeaseLost
            context.stop = context.stop or LeaseLost  # heard by threads, which cannot be cancelled
            running.cancel()
            await asyncio.wait({running}, timeout=DRAIN_S)
            # What does not stop may not be given to another: then its lease has to run out.
            if ours and running.done():
                await self._finish(task, finish, DRAIN_S)
            raise
        finally:
            keeping.cancel()

    async def _finish(self, task: Task, finish: FinishTask | None, most_s: float) -> None:
        """Say it until it is heard or it is too late; saying it late changes nothing (fencing)."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + most_s
        wait_s = RETRY_S[0]
        while finish is not None:
            try:
                async with asyncio.timeout_at(deadline):
                    await self._client.finish(task.task_id, finish)
                return
            except (ProductError, TimeoutError) as error:
                heard = isinstance(error, ProductError) and error.status < 500
                if heard or loop.time() + wait_s >= deadline:
                    log.warning("the end of a task was not taken", extra={"task_id": task.task_id})
                    return
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, RETRY_S[1])


def verdict(context: TaskContext, running: asyncio.Future[Any]) -> FinishTask | None:
    """What to tell the coordinator of a handler that ended; None when the task is not ours to speak of any more."""
    token, error = context.task.token, None if running.cancelled() else running.exception()
    if not running.cancelled() and error is None:
        try:
            return FinishTask(token=token, outcome="succeeded", result=running.result())
        except ValidationError:
            return FinishTask(token=token, outcome="failed", error="The result cannot be stored.", retry=False)
    if context.stop is LeaseLost or isinstance(error, LeaseLost):
        return None
    if context.stop is TaskCancelled or isinstance(error, TaskCancelled):
        return FinishTask(token=token, outcome="cancelled")
    if isinstance(error, Preempted):
        return FinishTask(token=token, outcome="released")
    if isinstance(error, VaultLocked):
        return FinishTask(token=token, outcome="released", after_s=LOCKED_S)
    if isinstance(error, ProductError):
        return FinishTask(token=token, outcome="failed", error=error.detail, retry=error.status >= 500)
    # A bug in a handler must not take the worker with it.
    log.error("a task failed", exc_info=error, extra={"task_id": context.task.task_id, "kind": type(error).__name__})
    return FinishTask(token=token, outcome="failed", error="Something went wrong on our side.")
