"""Tasks in PostgreSQL, and their twin in memory.

Every write of a running task carries its fencing token; a worker whose lease ran out holds an old one, and what it
writes changes no row. Only the database's clock counts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from services.gpu_coordinator.settings import Settings
from shared.errors import Conflict, NotFound, StaleToken
from shared.schemas.coordinator import FinishTask, HolderGrant, ReportTask, SubmitTask, Task
from shared.schemas.ids import new_id
from shared.storage.postgres import Pool, in_our_words

TERMINAL = ("succeeded", "failed", "dead", "cancelled")
RUNNING = ("running", "preempting")
CHANNEL = "nemo_task"
DAY_S = 86_400.0


class TaskStore(Protocol):
    """The durable queue. Tasks are lost by nothing short of losing the database."""

    async def submit(self, request: SubmitTask) -> tuple[Task, bool]:
        """The task and whether it is new; the same idempotency key gives the same task."""
        ...

    async def claim(self, kinds: Sequence[str], worker: str, by: HolderGrant | None = None) -> Task | None:
        """The next task; with `by` only while that holder has its model in memory, by that command, and its turn."""
        ...

    async def granted(self, by: HolderGrant) -> bool:
        """Whether a claim by this grant could still be served."""
        ...

    async def report(self, task_id: str, report: ReportTask) -> Task:
        """Renew the lease. Raises StaleToken."""
        ...

    async def finish(self, task_id: str, finish: FinishTask) -> Task:
        """End a run. Raises StaleToken."""
        ...

    async def get(self, task_id: str, owner: str | None = None) -> Task:
        """Raises NotFound, also for another owner's task."""
        ...

    async def page(self, owner: str | None, limit: int, before: str | None, state: str | None) -> list[Task]: ...
    async def cancel(self, task_id: str, owner: str | None = None) -> Task: ...
    async def retry(self, task_id: str, owner: str | None = None) -> Task: ...
    async def recover(self) -> list[Task]:
        """Give tasks of dead workers back to the queue."""
        ...

    async def forget(self, days: float) -> int:
        """Tasks that ended well or were cancelled so long ago; how many. Failed ones stay: somebody may retry them."""
        ...

    async def counts(self) -> dict[str, int]: ...
    async def oldest(self) -> dict[str, float]:
        """Seconds that the oldest waiting task of each class has waited."""
        ...

    async def wake(self, owner: str) -> None:
        """What waits until later is due now."""
        ...

    async def delete_owner(self, owner: str) -> None: ...


def task_of(row: Mapping[str, Any], lease_s: float) -> Task:
    values = {name: row[name] for name in Task.model_fields if name in row}
    for name in ("payload", "cursor", "progress", "result"):
        if isinstance(values.get(name), str):
            values[name] = json.loads(values[name])
    return Task.model_validate(values | {"lease_s": lease_s})


_NOTED = """
WITH changed AS (CHANGE),
noted AS (INSERT INTO task_event (task_id, state, token, detail) SELECT task_id, state, token, error FROM changed)
SELECT changed.*,
    CASE WHEN state NOT IN ('running', 'preempting') THEN pg_notify('CHANNEL', concat_ws(' ', state, kind, task_id)) END
FROM changed
"""  # commits that notify wait for one another, so a claim, which nobody waits for, does not


def noted(change: str) -> str:
    """A change of tasks, their events and the ring, in one statement and so in one round trip and one commit."""
    return _NOTED.replace("CHANGE", change, 1).replace("CHANNEL", CHANNEL, 1)


_SUBMIT = """
INSERT INTO task (task_id, kind, owner, task_class, priority, payload, max_attempts, idempotency_key)
VALUES ($1, $2, $3, $4, $5, $6::jsonb, $7, $8) ON CONFLICT DO NOTHING RETURNING *
"""

_REPORT = """
UPDATE task SET lease_until = now() + make_interval(secs => $3), progress = coalesce($4::jsonb, progress),
    cursor = coalesce($5::jsonb, cursor)
WHERE task_id = $1 AND token = $2 AND state IN ('running', 'preempting') RETURNING *
"""

_RELEASED = """
UPDATE task SET state = CASE WHEN cancel_requested THEN 'cancelled' ELSE 'queued' END, worker = NULL,
    finished_at = CASE WHEN cancel_requested THEN now() END, run_after = now() + make_interval(secs => $3),
    attempt = attempt - 1,
    lease_until = NULL, token = nextval('task_token')
WHERE task_id = $1 AND token = $2 AND state IN ('running', 'preempting') RETURNING *
"""

_ENDED = """
UPDATE task SET state = $3, result = $4::jsonb, error = $5, finished_at = now(), lease_until = NULL
WHERE task_id = $1 AND token = $2 AND state IN ('running', 'preempting') RETURNING *
"""

_CLAIM = """
WITH next AS (
    SELECT task_id FROM task
    WHERE state = 'queued' AND kind = ANY($1) AND run_after <= now()
      AND ($4::text IS NULL OR EXISTS (SELECT 1 FROM holder WHERE holder_id = $4 AND device_id = $5 AND instance = $6
           AND epoch = $7::bigint AND observed = 'resident' AND turn))
    ORDER BY task_class DESC, priority DESC, task_id
    LIMIT 1 FOR UPDATE SKIP LOCKED
)
UPDATE task SET state = 'running', token = nextval('task_token'), worker = $2, attempt = attempt + 1,
    lease_until = now() + make_interval(secs => $3), started_at = coalesce(started_at, now()),
    holder_id = $4, device_id = $5
FROM next WHERE task.task_id = next.task_id RETURNING task.*
"""  # 'interactive' sorts after 'background', so descending puts it first

_FAILED = """
UPDATE task SET
    state = CASE WHEN cancel_requested THEN 'cancelled' WHEN NOT $4 THEN 'failed'
                 WHEN attempt >= max_attempts THEN 'dead' ELSE 'queued' END,
    run_after = now() + make_interval(secs => least($5 * power(2, greatest(attempt - 1, 0)), $6)),
    finished_at = CASE WHEN cancel_requested OR NOT $4 OR attempt >= max_attempts THEN now() END,
    error = $3, worker = NULL, lease_until = NULL, token = nextval('task_token')
WHERE task_id = $1 AND token = $2 AND state IN ('running', 'preempting') RETURNING *
"""

_RECOVER = """
UPDATE task SET
    state = CASE WHEN cancel_requested THEN 'cancelled' WHEN attempt >= max_attempts THEN 'dead' ELSE 'queued' END,
    finished_at = CASE WHEN cancel_requested OR attempt >= max_attempts THEN now() END,
    error = 'The worker stopped answering.', worker = NULL, lease_until = NULL, token = nextval('task_token')
WHERE task_id IN (
    SELECT task_id FROM task WHERE state IN ('running', 'preempting') AND lease_until < now() FOR UPDATE SKIP LOCKED)
RETURNING *
"""

_CANCEL = """
UPDATE task SET cancel_requested = true,
    state = CASE WHEN state = 'queued' THEN 'cancelled' ELSE state END,
    finished_at = CASE WHEN state = 'queued' THEN now() ELSE finished_at END
WHERE task_id = $1 AND ($2::text IS NULL OR owner = $2) AND state IN ('queued', 'running', 'preempting') RETURNING *
"""

_RETRY = """
UPDATE task SET state = 'queued', attempt = 0, cancel_requested = false, error = NULL, result = NULL,
    finished_at = NULL, run_after = now(), token = nextval('task_token')
WHERE task_id = $1 AND ($2::text IS NULL OR owner = $2) AND state IN ('failed', 'dead', 'cancelled') RETURNING *
"""

_WAKE = """
UPDATE task SET run_after = now() WHERE owner = $1 AND state = 'queued' AND run_after > now() RETURNING *
"""


class PostgresTaskStore:
    """SQL of our own: what libraries offer lets a frozen worker finish a job that its successor is running."""

    def __init__(self, pool: Pool, settings: Settings) -> None:
        self._pool = pool
        self._settings = settings

    async def submit(self, request: SubmitTask) -> tuple[Task, bool]:
        row = await self._change(
            _SUBMIT,
            new_id("job"),
            request.kind,
            request.owner,
            request.task_class,
            request.priority,
            json.dumps(request.payload),
            request.max_attempts,
            request.idempotency_key,
        )
        if row is not None:
            return self._task(row), True
        with in_our_words():
            same = await self._pool.fetchrow(
                "SELECT * FROM task WHERE kind = $1 AND coalesce(owner, '') = coalesce($2, '')"
                " AND idempotency_key = $3",
                request.kind,
                request.owner,
                request.idempotency_key,
            )
        if same is None:
            raise Conflict("A task with that key was deleted meanwhile; send it again.")
        return self._task(same), False

    async def claim(self, kinds: Sequence[str], worker: str, by: HolderGrant | None = None) -> Task | None:
        grant = (None,) * 4 if by is None else (by.holder_id, by.device_id, by.instance, by.epoch)
        row = await self._change(_CLAIM, list(kinds), worker, self._settings.lease_s, *grant)
        return None if row is None else self._task(row)

    async def granted(self, by: HolderGrant) -> bool:
        with in_our_words():
            return bool(
                await self._pool.fetchval(
                    "SELECT count(*) FROM holder WHERE holder_id = $1 AND device_id = $2 AND instance = $3"
                    " AND epoch = $4 AND observed = 'resident' AND turn",
                    by.holder_id,
                    by.device_id,
                    by.instance,
                    by.epoch,
                )
            )

    async def report(self, task_id: str, report: ReportTask) -> Task:
        progress = report.progress.model_dump_json() if report.progress else None
        with in_our_words():
            row = await self._pool.fetchrow(
                _REPORT, task_id, report.token, self._settings.lease_s, progress, _json(report.cursor)
            )
        return self._fenced(row)

    async def finish(self, task_id: str, finish: FinishTask) -> Task:
        whose = (task_id, finish.token)
        if finish.outcome == "failed":
            base, most = self._settings.retry_base_s, self._settings.retry_most_s
            row = await self._change(_FAILED, *whose, finish.error, finish.retry, base, most)
        elif finish.outcome == "released":
            row = await self._change(_RELEASED, *whose, finish.after_s)
        else:
            row = await self._change(_ENDED, *whose, finish.outcome, _json(finish.result), finish.error)
        return self._fenced(row)

    async def get(self, task_id: str, owner: str | None = None) -> Task:
        with in_our_words():
            row = await self._pool.fetchrow(
                "SELECT * FROM task WHERE task_id = $1 AND ($2::text IS NULL OR owner = $2)", task_id, owner
            )
        if row is None:
            raise NotFound
        return self._task(row)

    async def page(self, owner: str | None, limit: int, before: str | None, state: str | None) -> list[Task]:
        with in_our_words():
            rows = await self._pool.fetch(
                "SELECT * FROM task WHERE ($1::text IS NULL OR owner = $1) AND ($2::text IS NULL OR task_id < $2)"
                " AND ($3::text IS NULL OR state = $3) ORDER BY task_id DESC LIMIT $4",
                owner,
                before,
                state,
                limit,
            )
        return [self._task(row) for row in rows]

    async def cancel(self, task_id: str, owner: str | None = None) -> Task:
        row = await self._change(_CANCEL, task_id, owner)
        return self._task(row) if row is not None else await self.get(task_id, owner)

    async def retry(self, task_id: str, owner: str | None = None) -> Task:
        row = await self._change(_RETRY, task_id, owner)
        if row is None:
            await self.get(task_id, owner)
            raise Conflict("Only a failed or cancelled job can be tried again.")
        return self._task(row)

    async def recover(self) -> list[Task]:
        with in_our_words():
            rows = await self._pool.fetch(noted(_RECOVER))
        return [self._task(row) for row in rows]

    async def counts(self) -> dict[str, int]:
        with in_our_words():
            rows = await self._pool.fetch(
                "SELECT task_class AS what, count(*) AS n FROM task WHERE state = 'queued' GROUP BY 1"
                " UNION ALL SELECT 'running', count(*) FROM task WHERE state IN ('running', 'preempting')"
                " HAVING count(*) > 0"
            )
        return {row["what"]: row["n"] for row in rows}

    async def oldest(self) -> dict[str, float]:
        with in_our_words():
            rows = await self._pool.fetch(
                "SELECT task_class, extract(epoch FROM now() - min(created_at))::float8 AS s FROM task"
                " WHERE state = 'queued' AND run_after <= now() GROUP BY 1"
            )
        return {row["task_class"]: round(row["s"], 1) for row in rows}

    async def forget(self, days: float) -> int:
        with in_our_words():
            done = await self._pool.execute(
                "DELETE FROM task WHERE state IN ('succeeded', 'cancelled')"
                " AND finished_at < now() - make_interval(secs => $1::float8)",
                days * DAY_S,
            )
        return int(done.split()[-1])

    async def wake(self, owner: str) -> None:
        with in_our_words():
            await self._pool.fetch(noted(_WAKE), owner)

    async def delete_owner(self, owner: str) -> None:
        with in_our_words():
            await self._pool.execute("DELETE FROM task WHERE owner = $1", owner)

    async def _change(self, sql: str, *values: Any) -> Any:
        """One row's change and its event, together; waiting workers hear of it when it is committed."""
        with in_our_words():
            return await self._pool.fetchrow(noted(sql), *values)

    def _task(self, row: Mapping[str, Any]) -> Task:
        return task_of(row, self._settings.lease_s)

    def _fenced(self, row: Mapping[str, Any] | None) -> Task:
        if row is None:
            raise StaleToken
        return self._task(row)


def _json(value: dict[str, Any] | None) -> str | None:
    return None if value is None else json.dumps(value)
