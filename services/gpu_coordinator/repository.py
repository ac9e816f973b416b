"""Tasks in PostgreSQL, and their twin in memory.

Every write of a running task carries its fencing token; a worker whose lease ran out holds an old one, and what it
writes changes no row. Only the database's clock counts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from services.gpu_coordinator.settings import Settings
from shared.errors import Conflict, NotFound
from shared.schemas.coordinator import FinishTask, ReportTask, SubmitTask, Task
from shared.schemas.ids import new_id
from shared.storage.postgres import Pool, in_our_words

TERMINAL = ("succeeded", "failed", "dead", "cancelled")
CHANNEL = "nemo_task"


class StaleToken(Conflict):
    """This task is no longer yours: its lease ran out and another worker has it."""

    code = "stale_token"


class TaskStore(Protocol):
    """The durable queue. Tasks are lost by nothing short of losing the database."""

    async def submit(self, request: SubmitTask) -> tuple[Task, bool]:
        """The task and whether it is new; the same idempotency key gives the same task."""
        ...

    async def claim(self, kinds: Sequence[str], worker: str) -> Task | None: ...
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

    async def counts(self) -> dict[str, int]: ...
    async def delete_owner(self, owner: str) -> None: ...


def task_of(row: Mapping[str, Any]) -> Task:
    values = {name: row[name] for name in Task.model_fields if name in row}
    for name in ("payload", "cursor", "progress", "result"):
        if isinstance(values.get(name), str):
            values[name] = json.loads(values[name])
    return Task.model_validate(values)


_CLAIM = """
WITH next AS (
    SELECT task_id FROM task
    WHERE state = 'queued' AND kind = ANY($1) AND run_after <= now()
    ORDER BY task_class DESC, priority DESC, task_id
    LIMIT 1 FOR UPDATE SKIP LOCKED
)
UPDATE task SET state = 'running', token = nextval('task_token'), worker = $2, attempt = attempt + 1,
    lease_until = now() + make_interval(secs => $3), started_at = coalesce(started_at, now())
FROM next WHERE task.task_id = next.task_id RETURNING task.*
"""  # 'interactive' sorts after 'background', so descending puts it first

_FAILED = """
UPDATE task SET
    state = CASE WHEN cancel_requested THEN 'cancelled' WHEN NOT $4 THEN 'failed'
                 WHEN attempt >= max_attempts THEN 'dead' ELSE 'queued' END,
    run_after = now() + make_interval(secs => least($5 * power(2, greatest(attempt - 1, 0)), $6)),
    finished_at = CASE WHEN cancel_requested OR NOT $4 OR attempt >= max_attempts THEN now() END,
    error = $3, worker = NULL, lease_until = NULL, token = nextval('task_token')
WHERE task_id = $1 AND token = $2 AND state = 'running' RETURNING *
"""

_RECOVER = """
UPDATE task SET
    state = CASE WHEN cancel_requested THEN 'cancelled' WHEN attempt >= max_attempts THEN 'dead' ELSE 'queued' END,
    finished_at = CASE WHEN cancel_requested OR attempt >= max_attempts THEN now() END,
    error = 'The worker stopped answering.', worker = NULL, lease_until = NULL, token = nextval('task_token')
WHERE task_id IN (SELECT task_id FROM task WHERE state = 'running' AND lease_until < now() FOR UPDATE SKIP LOCKED)
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


class PostgresTaskStore:
    """SQL of our own: what libraries offer lets a frozen worker finish a job that its successor is running."""

    def __init__(self, pool: Pool, settings: Settings) -> None:
        self._pool = pool
        self._settings = settings

    async def submit(self, request: SubmitTask) -> tuple[Task, bool]:
        row = await self._change(
            "INSERT INTO task (task_id, kind, owner, task_class, priority, payload, max_attempts, idempotency_key)"
            " VALUES ($1, $2, $3, $4, $5, $6::jsonb, $7, $8) ON CONFLICT DO NOTHING RETURNING *",
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
            return task_of(row), True
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
        return task_of(same), False

    async def claim(self, kinds: Sequence[str], worker: str) -> Task | None:
        row = await self._change(_CLAIM, list(kinds), worker, self._settings.lease_s)
        return None if row is None else task_of(row)

    async def report(self, task_id: str, report: ReportTask) -> Task:
        progress = report.progress.model_dump_json() if report.progress else None
        cursor = None if report.cursor is None else json.dumps(report.cursor)
        row = await self._change(
            "UPDATE task SET lease_until = now() + make_interval(secs => $3), progress = coalesce($4::jsonb, progress),"
            " cursor = coalesce($5::jsonb, cursor) WHERE task_id = $1 AND token = $2 AND state = 'running' RETURNING *",
            task_id,
            report.token,
            self._settings.lease_s,
            progress,
            cursor,
            event=False,
        )
        return self._fenced(row)

    async def finish(self, task_id: str, finish: FinishTask) -> Task:
        if finish.outcome == "failed":
            base, most = self._settings.retry_base_s, self._settings.retry_most_s
            row = await self._change(_FAILED, task_id, finish.token, finish.error, finish.retry, base, most)
        elif finish.outcome == "released":
            row = await self._change(
                "UPDATE task SET state = CASE WHEN cancel_requested THEN 'cancelled' ELSE 'queued' END, worker = NULL,"
                " finished_at = CASE WHEN cancel_requested THEN now() END, attempt = attempt - 1, lease_until = NULL,"
                " token = nextval('task_token') WHERE task_id = $1 AND token = $2 AND state = 'running' RETURNING *",
                task_id,
                finish.token,
            )
        else:
            row = await self._change(
                "UPDATE task SET state = $3, result = $4::jsonb, error = $5, finished_at = now(), lease_until = NULL"
                " WHERE task_id = $1 AND token = $2 AND state = 'running' RETURNING *",
                task_id,
                finish.token,
                finish.outcome,
                None if finish.result is None else json.dumps(finish.result),
                finish.error,
            )
        return self._fenced(row)

    async def get(self, task_id: str, owner: str | None = None) -> Task:
        with in_our_words():
            row = await self._pool.fetchrow(
                "SELECT * FROM task WHERE task_id = $1 AND ($2::text IS NULL OR owner = $2)", task_id, owner
            )
        if row is None:
            raise NotFound
        return task_of(row)

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
        return [task_of(row) for row in rows]

    async def cancel(self, task_id: str, owner: str | None = None) -> Task:
        row = await self._change(_CANCEL, task_id, owner)
        return task_of(row) if row is not None else await self.get(task_id, owner)

    async def retry(self, task_id: str, owner: str | None = None) -> Task:
        row = await self._change(_RETRY, task_id, owner)
        if row is None:
            await self.get(task_id, owner)
            raise Conflict("Only a failed or cancelled job can be tried again.")
        return task_of(row)

    async def recover(self) -> list[Task]:
        with in_our_words():
            async with self._pool.acquire() as connection, connection.transaction():
                rows = await connection.fetch(_RECOVER)
                for row in rows:
                    await self._note(connection, row)
        return [task_of(row) for row in rows]

    async def counts(self) -> dict[str, int]:
        with in_our_words():
            rows = await self._pool.fetch(
                "SELECT CASE WHEN state = 'running' THEN 'running' ELSE task_class END AS what, count(*) AS n FROM task"
                " WHERE state IN ('queued', 'running', 'preempting') GROUP BY 1"
            )
        return {row["what"]: row["n"] for row in rows}

    async def delete_owner(self, owner: str) -> None:
        with in_our_words():
            await self._pool.execute("DELETE FROM task WHERE owner = $1", owner)

    async def _change(self, sql: str, *values: Any, event: bool = True) -> Any:
        """One row's change and its event, together; waiting workers hear of it when it is committed."""
        with in_our_words():
            async with self._pool.acquire() as connection, connection.transaction():
                row = await connection.fetchrow(sql, *values)
                if row is not None and event:
                    await self._note(connection, row)
                return row

    async def _note(self, connection: Any, row: Mapping[str, Any]) -> None:
        await connection.execute(
            "WITH noted AS (INSERT INTO task_event (task_id, state, token, detail) VALUES ($1, $2, $3, $4))"
            " SELECT pg_notify($5, $2)",
            row["task_id"],
            row["state"],
            row["token"],
            row["error"],
            CHANNEL,
        )

    @staticmethod
    def _fenced(row: Any) -> Task:
        if row is None:
            raise StaleToken
        return task_of(row)
