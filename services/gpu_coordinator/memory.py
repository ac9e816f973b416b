"""The queue's twin in memory: same answers, gone with the process. For tests and for reading."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from services.gpu_coordinator.ledger import Backlog, Change, HolderRow, Said, View, heard, registered
from services.gpu_coordinator.policy import changed
from services.gpu_coordinator.repository import RUNNING, TERMINAL
from services.gpu_coordinator.settings import Settings
from shared.errors import Conflict, NotFound, StaleInstance, StaleToken
from shared.schemas.coordinator import FinishTask, HolderGrant, ReportTask, SubmitTask, Task
from shared.schemas.ids import new_id


class MemoryHolders:
    """The twin of the holders' table for one device, on a clock of the caller's."""

    def __init__(self, clock: Callable[[], float], view: View) -> None:
        self._clock, self._view = clock, view
        self.rows: dict[str, HolderRow] = {}
        self.backlog: dict[str, Backlog] = {}
        self.leader: tuple[str, float] | None = None
        self.leader_epoch = 0
        self.swaps: list[tuple[float, str, Change]] = []

    def register(self, new: HolderRow) -> HolderRow:
        self.rows[new.holder_id] = registered(self.rows.get(new.holder_id), new, self._clock())
        return self.rows[new.holder_id]

    def sync(self, holder_id: str, said: Said) -> HolderRow:
        row = self.rows.get(holder_id)
        if row is None or row.instance != said.instance:
            raise StaleInstance
        self.rows[holder_id] = heard(row, said, self._clock())
        return self.rows[holder_id]

    def lead(self, who: str, lease_s: float) -> int | None:
        now = self._clock()
        if self.leader is not None and self.leader[0] != who and self.leader[1] >= now:
            return None
        self.leader_epoch += self.leader is None or self.leader[0] != who
        self.leader = (who, now + lease_s)
        return self.leader_epoch

    def view(self, free_bytes: int | None, free_at: float | None = None) -> View:
        now = self._clock()
        late = sum(1 for at, _, change in self.swaps if change.command == "park" and now - at < 60)
        held = tuple(self.rows[each] for each in sorted(self.rows))
        return replace(
            self._view,
            now=now,
            holders=held,
            backlog=dict(self.backlog),
            changes_of_late=late,
            free_bytes=free_bytes,
            free_at=now if free_at is None else free_at,
        )

    def apply(self, leader_epoch: int, change: Change) -> HolderRow | None:
        row, now = self.rows.get(change.holder_id), self._clock()
        leads = self.leader is not None and self.leader[1] > now and leader_epoch == self.leader_epoch
        if row is None or row.epoch != change.epoch or not leads:
            return None
        if change.command:
            self.swaps.append((now, change.holder_id, change))
        self.rows[change.holder_id] = changed(row, change, now)
        return self.rows[change.holder_id]

    def grants(self, by: HolderGrant) -> bool:
        """Whether the holder has, by this very command, the memory and its turn."""
        row = self.rows.get(by.holder_id)
        return (
            row is not None
            and row.observed == "resident"
            and row.turn
            and by.epoch == row.epoch
            and (by.instance == row.instance)
        )


class MemoryTaskStore:
    """One event loop, no storage."""

    def __init__(
        self,
        settings: Settings,
        holders: MemoryHolders | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._holders = holders
        self._settings = settings
        self._tasks: dict[str, Task] = {}
        self._keys: dict[tuple[str, str | None, str], str] = {}
        self._lease: dict[str, float] = {}
        self._after: dict[str, float] = {}
        self._most: dict[str, int] = {}
        self._token = 0

    async def submit(self, request: SubmitTask) -> tuple[Task, bool]:
        key = (request.kind, request.owner, request.idempotency_key or "")
        if request.idempotency_key is not None and key in self._keys:
            return self._tasks[self._keys[key]], False
        values = request.model_dump(exclude={"idempotency_key", "max_attempts"})
        task = Task(
            task_id=new_id("job"),
            state="queued",
            token=0,
            lease_s=self._settings.lease_s,
            attempt=0,
            created_at=datetime.now(UTC),
            **values,
        )
        self._tasks[task.task_id] = task
        self._most[task.task_id] = request.max_attempts
        if request.idempotency_key is not None:
            self._keys[key] = task.task_id
        return task, True

    async def claim(self, kinds: Sequence[str], worker: str, by: HolderGrant | None = None) -> Task | None:
        now = self._clock()
        if by is not None and not (self._holders and self._holders.grants(by)):
            return None
        ready = [t for t in self._tasks.values() if t.state == "queued" and t.kind in kinds]
        ready = [t for t in ready if self._after.get(t.task_id, 0) <= now]
        ready.sort(key=lambda t: (t.task_class != "interactive", -t.priority, t.task_id))
        if not ready:
            return None
        task = ready[0]
        self._lease[task.task_id] = now + self._settings.lease_s
        return self._set(
            task.task_id,
            state="running",
            token=self._next(),
            worker=worker,
            attempt=task.attempt + 1,
            started_at=task.started_at or datetime.now(UTC),
        )

    async def granted(self, by: HolderGrant) -> bool:
        return self._holders is not None and self._holders.grants(by)

    async def report(self, task_id: str, report: ReportTask) -> Task:
        task = self._mine(task_id, report.token)
        self._lease[task_id] = self._clock() + self._settings.lease_s
        cursor = task.cursor if report.cursor is None else report.cursor
        return self._set(task_id, progress=report.progress or task.progress, cursor=cursor)

    async def finish(self, task_id: str, finish: FinishTask) -> Task:
        task = self._mine(task_id, finish.token)
        if finish.outcome in ("failed", "released"):
            return self._end_run(task, finish)
        return self._set(
            task_id, state=finish.outcome, result=finish.result, error=finish.error, finished_at=datetime.now(UTC)
        )

    def _end_run(self, task: Task, finish: FinishTask) -> Task:
        released = finish.outcome == "released"
        dead = not released and task.attempt >= self._most[task.task_id]
        state = "cancelled" if task.cancel_requested else "queued"
        if state == "queued" and not released and (not finish.retry or dead):
            state = "dead" if finish.retry else "failed"
        wait_s = min(self._settings.retry_base_s * 2 ** max(0, task.attempt - 1), self._settings.retry_most_s)
        self._after[task.task_id] = self._clock() + (finish.after_s if released else wait_s)
        return self._set(
            task.task_id,
            state=state,
            token=self._next(),
            worker=None,
            error=task.error if released else finish.error,
            attempt=task.attempt - released,
            finished_at=datetime.now(UTC) if state in TERMINAL else None,
        )

    async def get(self, task_id: str, owner: str | None = None) -> Task:
        task = self._tasks.get(task_id)
        if task is None or (owner is not None and task.owner != owner):
            raise NotFound
        return task

    async def page(self, owner: str | None, limit: int, before: str | None, state: str | None) -> list[Task]:
        found = sorted(self._tasks.values(), key=lambda t: t.task_id, reverse=True)
        found = [t for t in found if owner in (None, t.owner) and state in (None, t.state)]
        return [t for t in found if before is None or t.task_id < before][:limit]

    async def cancel(self, task_id: str, owner: str | None = None) -> Task:
        task = await self.get(task_id, owner)
        if task.state in TERMINAL:
            return task
        if task.state == "queued":
            return self._set(task_id, state="cancelled", cancel_requested=True, finished_at=datetime.now(UTC))
        return self._set(task_id, cancel_requested=True)

    async def retry(self, task_id: str, owner: str | None = None) -> Task:
        task = await self.get(task_id, owner)
        if task.state not in ("failed", "dead", "cancelled"):
            raise Conflict("Only a failed or cancelled job can be tried again.")
        self._after[task_id] = 0
        return self._set(
            task_id,
            state="queued",
            attempt=0,
            cancel_requested=False,
            error=None,
            result=None,
            finished_at=None,
            token=self._next(),
        )

    async def recover(self) -> list[Task]:
        now = self._clock()
        late = [t for t in self._tasks.values() if t.state in RUNNING and self._lease[t.task_id] < now]
        return [self._recovered(task) for task in late]

    def _recovered(self, task: Task) -> Task:
        state = "dead" if task.attempt >= self._most[task.task_id] else "queued"
        state = "cancelled" if task.cancel_requested else state
        return self._set(
            task.task_id,
            state=state,
            token=self._next(),
            worker=None,
            error="The worker stopped answering.",
            finished_at=datetime.now(UTC) if state in TERMINAL else None,
        )

    async def counts(self) -> dict[str, int]:
        alive = [t for t in self._tasks.values() if t.state not in TERMINAL]
        return dict(Counter("running" if t.state in RUNNING else t.task_class for t in alive))

    async def oldest(self) -> dict[str, float]:
        now, waiting = datetime.now(UTC), [t for t in self._tasks.values() if t.state == "queued"]
        ages = [(t.task_class, (now - t.created_at).total_seconds()) for t in waiting]
        return {name: max(age for each, age in ages if each == name) for name, _ in ages}

    async def forget(self, days: float) -> int:
        before = datetime.now(UTC) - timedelta(days=days)
        old = [
            each.task_id
            for each in self._tasks.values()
            if each.state in ("succeeded", "cancelled") and each.finished_at is not None and each.finished_at < before
        ]
        self._drop(old)
        return len(old)

    async def wake(self, owner: str) -> None:
        self._after.update({task.task_id: 0 for task in self._tasks.values() if task.owner == owner})

    async def delete_owner(self, owner: str) -> None:
        self._drop([t.task_id for t in self._tasks.values() if t.owner == owner])

    def _drop(self, task_ids: Sequence[str]) -> None:
        for task_id in task_ids:
            del self._tasks[task_id]
        self._keys = {key: task_id for key, task_id in self._keys.items() if task_id in self._tasks}

    def _mine(self, task_id: str, token: int) -> Task:
        task = self._tasks.get(task_id)
        if task is None or task.token != token or task.state not in RUNNING:
            raise StaleToken
        return task

    def _set(self, task_id: str, **values: Any) -> Task:
        self._tasks[task_id] = self._tasks[task_id].model_copy(update=values)
        return self._tasks[task_id]

    def _next(self) -> int:
        self._token += 1
        return self._token
