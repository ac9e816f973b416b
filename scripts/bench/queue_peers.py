"""Our durable queue and two libraries on the same PostgreSQL, each by its own lowest-level public calls.

No polling loop takes part, so that a cycle is the same for all: a durable insert, a claim, a finish. pgqueuer claims
and finishes whole batches as well; procrastinate and ours claim one job at a time, so there is no batch to compare.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import timedelta
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any, Protocol
from uuid import uuid4

import asyncpg

from services.gpu_coordinator.repository import PostgresTaskStore
from services.gpu_coordinator.settings import Settings
from shared.schemas.coordinator import FinishTask, SubmitTask, Task
from shared.storage.postgres import Pool

KIND = "bench"
PAYLOAD = {"recording_id": "rec_01J00000000000000000000000"}


class Queue(Protocol):
    """A durable queue as `workers` workers see it, numbered from zero; a job has whatever type the library gives it."""

    name: str

    async def submit(self, worker: int) -> None: ...
    async def claim(self, worker: int) -> Any | None: ...
    async def finish(self, worker: int, job: Any) -> None: ...
    async def recover(self) -> None:
        """What the queue itself does, besides claiming, to take jobs from workers that fell silent."""
        ...

    async def row(self, job: Any) -> Any:
        """The job as the database holds it."""
        ...


class Ours:
    name = "ours"

    def __init__(self, pool: Pool, lease_s: float) -> None:
        self._pool = pool
        self._store = PostgresTaskStore(pool, Settings(lease_s=lease_s))

    async def submit(self, worker: int) -> None:
        await self._store.submit(SubmitTask(kind=KIND, owner="usr_bench", payload=PAYLOAD))

    async def claim(self, worker: int) -> Task | None:
        return await self._store.claim([KIND], f"w/{worker}")

    async def finish(self, worker: int, job: Task) -> None:
        await self._store.finish(job.task_id, FinishTask(token=job.token, outcome="succeeded", result={"ok": True}))

    async def recover(self) -> None:
        await self._store.recover()

    async def row(self, job: Task) -> Any:
        return await self._pool.fetchrow("SELECT * FROM task WHERE task_id = $1", job.task_id)


class PgQueuer:
    """One connection for each worker, as its asyncpg driver has it; a pool would add a reset to every call."""

    def __init__(self, pool: Pool, connections: list[asyncpg.Connection[Any]], lease_s: float) -> None:
        from pgqueuer.ports.repository import EntrypointExecutionParameter
        from pgqueuer.queries import Queries

        self.name = f"pgqueuer {version('pgqueuer')}"
        self._pool = pool
        self._queries = [Queries.from_asyncpg_connection(each) for each in connections]
        self._managers = [uuid4() for _ in connections]
        self._entrypoints = {KIND: EntrypointExecutionParameter(concurrency_limit=0)}
        self._timeout = timedelta(seconds=lease_s)

    @classmethod
    @asynccontextmanager
    async def opened(cls, url: str, pool: Pool, workers: int, lease_s: float) -> AsyncIterator[PgQueuer]:
        async with AsyncExitStack() as stack:
            connections = []
            for _ in range(workers):
                connection = await asyncpg.connect(url)
                stack.push_async_callback(connection.close)
                connections.append(connection)
            queue = cls(pool, connections, lease_s)
            await queue._queries[0].install()
            yield queue

    async def submit(self, worker: int) -> None:
        await self._queries[worker].enqueue(KIND, json.dumps(PAYLOAD).encode())

    async def claim(self, worker: int) -> Any | None:
        jobs = await self._queries[worker].dequeue(
            batch_size=1,
            entrypoints=self._entrypoints,
            queue_manager_id=self._managers[worker],
            global_concurrency_limit=None,
            heartbeat_timeout=self._timeout,
        )
        return jobs[0] if jobs else None

    async def finish(self, worker: int, job: Any) -> None:
        await self._queries[worker].log_jobs([(job, "successful", None)])

    async def recover(self) -> None:
        """Nothing: a dequeue takes silent workers' jobs by itself."""

    async def row(self, job: Any) -> Any:
        return await self._pool.fetchrow("SELECT * FROM pgqueuer WHERE id = $1", job.id)


class Procrastinate:
    """Its asynchronous connector, with autocommit, which saves it a BEGIN and a COMMIT around every call."""

    def __init__(self, pool: Pool, app: Any, workers: list[int], lease_s: float) -> None:
        from procrastinate.jobs import Job, Status

        self.name = f"procrastinate {version('procrastinate')}"
        self._pool = pool
        self._manager = app.job_manager
        self._workers = workers
        self._lease_s = lease_s
        self._job = Job(queue=KIND, lock=None, queueing_lock=None, task_name=KIND, task_kwargs=dict(PAYLOAD))
        self._succeeded = Status.SUCCEEDED

    @classmethod
    @asynccontextmanager
    async def opened(cls, url: str, pool: Pool, workers: int, lease_s: float) -> AsyncIterator[Procrastinate]:
        from procrastinate import App, PsycopgConnector

        connector = PsycopgConnector(conninfo=url, min_size=workers, max_size=workers, kwargs={"autocommit": True})
        app = App(connector=connector)
        async with app.open_async():
            await app.schema_manager.apply_schema_async()
            yield cls(pool, app, [await app.job_manager.register_worker() for _ in range(workers)], lease_s)

    async def submit(self, worker: int) -> None:
        await self._manager.defer_job_async(self._job)

    async def claim(self, worker: int) -> Any | None:
        return await self._manager.fetch_job(queues=[KIND], worker_id=self._workers[worker])

    async def finish(self, worker: int, job: Any) -> None:
        await self._manager.finish_job(job, self._succeeded, delete_job=False)  # as its worker does unless told else

    async def recover(self) -> None:
        """As its documentation says to do in a task of one's own."""
        for job in await self._manager.get_stalled_jobs(seconds_since_heartbeat=self._lease_s):
            await self._manager.retry_job(job)

    async def row(self, job: Any) -> Any:
        return await self._pool.fetchrow("SELECT * FROM procrastinate_jobs WHERE id = $1", job.id)


Opened = Callable[[str, Pool, int, float], AbstractAsyncContextManager[Queue]]
PEERS: dict[str, Opened] = {"pgqueuer": PgQueuer.opened, "procrastinate": Procrastinate.opened}


def missing() -> list[str]:
    """The peers that are not installed here."""
    return [name for name in PEERS if find_spec(name) is None]


@asynccontextmanager
async def queues(url: str, pool: Pool, workers: int, lease_s: float) -> AsyncIterator[list[Queue]]:
    """Ours first, then the peers that are installed, each with its tables in the schema that the URL names."""
    async with AsyncExitStack() as stack:
        opened = [peer(url, pool, workers, lease_s) for name, peer in PEERS.items() if name not in missing()]
        yield [Ours(pool, lease_s), *[await stack.enter_async_context(each) for each in opened]]


async def claimed(queue: Queue, worker: int) -> Any:
    """A job, of which there is one for every worker that asks; a rival may have had the first that was seen."""
    async with asyncio.timeout(10):
        while (job := await queue.claim(worker)) is None:
            await asyncio.sleep(0)
        return job


async def cycle(queue: Queue, worker: int) -> None:
    await queue.submit(worker)
    await queue.finish(worker, await claimed(queue, worker))


async def zombie(queue: Queue, lease_s: float) -> tuple[str, str]:
    """How the queue takes a frozen worker's finish of a job that its successor runs, and the successor's own after it.

    The frozen worker sleeps past its lease, the queue's own recovery gives the job to the successor, the frozen one
    wakes.
    """
    frozen, successor = 0, 1
    await queue.submit(frozen)
    held = await claimed(queue, frozen)
    await asyncio.sleep(2 * lease_s)
    await queue.recover()
    given = await claimed(queue, successor)
    assert await queue.row(given) == await queue.row(held), f"{queue.name} gave the successor another job"
    return await answer(queue, frozen, held), await answer(queue, successor, given)


async def answer(queue: Queue, worker: int, job: Any) -> str:
    """Whether this finish changed the job's row, whatever the library says of it."""
    before = await queue.row(job)
    said = ""
    try:
        await queue.finish(worker, job)
    except Exception as error:
        said = f" ({type(error).__name__})"
    if await queue.row(job) != before:
        return "accepted"
    return f"refused{said}" if said else "without effect"
