"""The coordinator as its own process, on real PostgreSQL and Redis, on its bad days."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import socket
import sys
import time
from asyncio.subprocess import DEVNULL, Process, create_subprocess_exec
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from services.cli.embedded import EmbeddedPostgres
from services.gpu_coordinator.service import POLL_S
from services.gpu_coordinator.settings import Settings
from shared.auth.principal import Principal
from shared.auth.service_tokens import ServiceIdentity, generate_key
from shared.clients.gpu_coordinator import CoordinatorClient
from shared.errors import ProductError
from shared.gpu.worker import Handler, TaskContext, TaskWorker
from shared.lifecycle import background
from shared.schemas.coordinator import ClaimTask, SubmitTask, Task
from shared.settings import SERVICE_PORTS
from tests.conftest import ROOT, free_ports

ANNA = Principal("usr_anna")


class House:
    """PostgreSQL, the coordinator and whoever calls it; each can be killed and started again."""

    def __init__(self, folder: Path, redis_url: str, lease_s: float) -> None:
        self.server = EmbeddedPostgres(folder, secrets.token_urlsafe(16))
        self.keys = folder / "secrets"
        for name in SERVICE_PORTS:
            generate_key(self.keys / "service_keys", name)
        self.port = free_ports(1)
        self.env = {
            "DATA_DIR": str(folder),
            "SECRETS_DIR": str(self.keys),
            "DATABASE_URL": self.server.url,
            "REDIS_URL": redis_url,
            "GPU_COORDINATOR_PORT": str(self.port),
            "GPU_COORDINATOR_LEASE_S": str(lease_s),
        }
        self.settings = Settings(
            gpu_coordinator_url=f"http://127.0.0.1:{self.port}", data_dir=folder, secrets_dir=self.keys
        )
        self.postgres: Process | None = None
        self.coordinator: Process | None = None

    async def start_postgres(self) -> None:
        await self.server.prepare()
        child = self.server.child()
        self.postgres = await create_subprocess_exec(*child.command, stdout=DEVNULL, stderr=DEVNULL)
        assert child.ready is not None
        async with asyncio.timeout(90):
            while not await child.ready():
                await asyncio.sleep(0.05)

    async def start_coordinator(self) -> None:
        command = [sys.executable, "-m", "services", "run", "gpu-coordinator"]
        log = (Path(self.env["DATA_DIR"]) / "coordinator.log").open("ab")
        self.coordinator = await create_subprocess_exec(
            *command, cwd=ROOT, env=os.environ | self.env, stdout=log, stderr=log
        )
        log.close()
        async with asyncio.timeout(90):
            while True:
                assert self.coordinator.returncode is None, (Path(self.env["DATA_DIR"]) / "coordinator.log").read_text()
                with suppress(ProductError):
                    await self.call("GET", "/ready")
                    return
                await asyncio.sleep(0.1)

    async def call(self, method: str, path: str) -> Any:
        async with self.client("api-gateway") as client:
            return await client.json(method, path, user=None, deadline_s=5)

    def client(self, caller: str = "transcription") -> CoordinatorClient:
        return CoordinatorClient(self.settings, ServiceIdentity.from_settings(caller, self.settings))


async def stop(process: Process | None, how: signal.Signals) -> None:
    if process is not None and process.returncode is None:
        process.send_signal(how)
        await asyncio.wait_for(process.wait(), 60)


@pytest.fixture
async def house(request: pytest.FixtureRequest, tmp_path: Path, redis_url: str) -> AsyncIterator[House]:
    """`param`: seconds of a lease; so many that none ends while something is started again, unless said otherwise."""
    made = House(tmp_path, redis_url, getattr(request, "param", 60))
    await made.start_postgres()
    await made.start_coordinator()
    yield made
    await stop(made.coordinator, signal.SIGTERM)
    await stop(made.postgres, signal.SIGINT)


@asynccontextmanager
async def working(house: House, handler: Handler) -> AsyncIterator[None]:
    async with house.client() as client, background(TaskWorker(client, {"work": handler}, "w").run()):
        yield


async def submitted(house: House, **values: Any) -> Task:
    async with house.client() as client:
        return await client.submit(SubmitTask(kind="work", owner=ANNA.user_id, **values))


async def ended(house: House, task_id: str, within_s: float = 120) -> Task:
    async with asyncio.timeout(within_s), house.client() as client:
        while True:
            with suppress(ProductError):
                task = await client.task(task_id)
                if task.finished_at is not None:
                    return task
            await asyncio.sleep(0.05)


async def five_steps(context: TaskContext) -> dict[str, Any]:
    """Four seconds of work that goes on from its cursor."""
    done = (context.task.cursor or {}).get("steps", 0)
    for step in range(done, 5):
        await context.progress("step", step * 20, cursor={"steps": step})
        await asyncio.sleep(0.8)
    return {"began_at": done}


async def events_of(house: House, job_id: str, last: str | None = None) -> list[dict[str, str]]:
    headers = {"Last-Event-ID": last} if last else {}
    path = f"/jobs/{job_id}/events"
    async with house.client("api-gateway") as client, client.stream("GET", path, user=ANNA, headers=headers) as answer:
        text = (await answer.read()).decode()
    blocks = [block for block in text.split("\n\n") if block.startswith("id: ")]
    return [dict(line.split(": ", 1) for line in block.splitlines()) for block in blocks]


async def test_work_from_submission_to_the_last_event(house: House) -> None:
    async def handler(context: TaskContext) -> dict[str, Any]:
        await context.progress("half", 50)
        await asyncio.sleep(0.2)
        return {"n": context.task.payload["n"]}

    task = await submitted(house, payload={"n": 7})
    watching = asyncio.create_task(events_of(house, task.task_id))
    await asyncio.sleep(0.3)
    async with working(house, handler):
        events = await asyncio.wait_for(watching, 60)
    jobs = [json.loads(event["data"]) for event in events]
    assert jobs[0]["state"] == "queued" and jobs[-1]["state"] == "succeeded" and jobs[-1]["result"] == {"n": 7}
    assert 50 in [job["progress"]["percent"] for job in jobs]
    assert len({event["id"] for event in events}) == len(events)
    assert await events_of(house, task.task_id, events[-1]["id"]) == []


async def test_a_new_task_reaches_a_waiting_worker_at_once(house: House) -> None:
    began: dict[str, float] = {}

    async def handler(context: TaskContext) -> None:
        began[context.task.task_id] = time.perf_counter()

    waits = []
    async with working(house, handler):
        await asyncio.sleep(0.5)
        for _ in range(10):
            sent = time.perf_counter()
            task = await submitted(house)
            await ended(house, task.task_id)
            waits.append(began[task.task_id] - sent)
    assert min(waits) < POLL_S / 2  # by polling alone none would


async def test_a_dead_workers_open_claim_takes_nothing(house: House) -> None:
    """Whoever is gone must not be given the task that comes next."""
    body = json.dumps(ClaimTask(kinds=["work"], worker="dead", wait_s=20).model_dump())
    token = ServiceIdentity.from_settings("transcription", house.settings).token_for("gpu-coordinator")
    with socket.create_connection(("127.0.0.1", house.port)) as line:
        head = f"POST /queue/claim HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n"
        line.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        await asyncio.sleep(0.5)
    await asyncio.sleep(0.1)
    task = await submitted(house)
    await asyncio.sleep(1.5)
    async with house.client() as client:
        seen = await client.task(task.task_id)
    assert (seen.state, seen.attempt) == ("queued", 0)


async def test_a_killed_coordinator_changes_no_outcome(house: House) -> None:
    task = await submitted(house)
    async with working(house, five_steps):
        await asyncio.sleep(1.5)
        await stop(house.coordinator, signal.SIGKILL)
        await asyncio.sleep(0.5)
        await house.start_coordinator()
        done = await ended(house, task.task_id)
    assert (done.state, done.attempt, done.result) == ("succeeded", 1, {"began_at": 0})


async def test_postgres_killed_in_the_middle(house: House) -> None:
    """SIGQUIT: no farewell to anybody, recovery from the log on the next start."""
    running, waiting = await submitted(house), await submitted(house)
    async with working(house, five_steps):
        await asyncio.sleep(1.5)
        await stop(house.postgres, signal.SIGQUIT)
        await asyncio.sleep(1)
        await house.start_postgres()
        done = [await ended(house, each.task_id) for each in (running, waiting)]
    assert [task.state for task in done] == ["succeeded", "succeeded"]
    assert done[0].attempt == 1


async def test_the_bell_is_back_after_postgres_was_away(house: House) -> None:
    await stop(house.postgres, signal.SIGQUIT)
    await asyncio.sleep(0.5)
    await house.start_postgres()
    connection = await asyncpg.connect(house.server.url)
    async with asyncio.timeout(60):  # the coordinator looks every 5 s whether its line is alive
        while await _heard_after_s(house, connection) > POLL_S / 2:
            pass
    await connection.close()


async def _heard_after_s(house: House, connection: Any) -> float:
    """Seconds from another coordinator's submission to its claim here; polling alone would need 0.8 of POLL_S."""
    async with house.client() as client:
        waiting = asyncio.create_task(client.claim(ClaimTask(kinds=["rung"], worker="w", wait_s=10)))
        await asyncio.sleep(0.2 * POLL_S)
        began = time.perf_counter()
        await connection.execute(
            "WITH made AS (INSERT INTO task (task_id, kind, task_class, priority, payload, max_attempts) VALUES"
            " ('job_' || gen_random_uuid(), 'rung', 'background', 0, '{}', 5) RETURNING task_id)"
            " SELECT pg_notify('nemo_task', 'queued rung ' || task_id) FROM made"
        )
        assert await waiting is not None
        return time.perf_counter() - began


@pytest.mark.parametrize("house", [6], indirect=True)
async def test_a_frozen_worker_wakes_up_and_changes_nothing(house: House, zombie_script: Path) -> None:
    """SIGSTOP past the lease, then SIGCONT: its successor's result stands."""
    task = await submitted(house)
    zombie = await create_subprocess_exec(sys.executable, zombie_script, cwd=ROOT, env=os.environ | house.env)
    async with asyncio.timeout(60), house.client() as client:
        while (await client.task(task.task_id)).state != "running":
            await asyncio.sleep(0.05)
    zombie.send_signal(signal.SIGSTOP)

    async def heir(context: TaskContext) -> dict[str, Any]:
        zombie.send_signal(signal.SIGCONT)
        await asyncio.sleep(2)
        return {"by": "heir"}

    try:
        async with working(house, heir):
            done = await ended(house, task.task_id)
            await asyncio.sleep(0.5)
    finally:
        zombie.kill()
        await zombie.wait()
    assert done.result == {"by": "heir"} and done.attempt == 2
    async with house.client() as client:
        assert await client.task(task.task_id) == done


@pytest.fixture
def zombie_script(house: House, tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "zombie.py"
    path.write_text(
        f"""
import asyncio, sys
sys.path.insert(0, {str(ROOT)!r})
from shared.auth.service_tokens import ServiceIdentity
from shared.clients.gpu_coordinator import CoordinatorClient
from shared.gpu.worker import TaskWorker
from services.gpu_coordinator.settings import Settings

async def handler(context):
    await asyncio.sleep(3)
    return {{"by": "zombie"}}

settings = Settings(gpu_coordinator_url="http://127.0.0.1:{house.port}")
client = CoordinatorClient(settings, ServiceIdentity.from_settings("transcription", settings))
asyncio.run(TaskWorker(client, {{"work": handler}}, "zombie").run())
"""
    )
    yield path


async def test_ten_thousand_tasks_wait_in_order(house: House) -> None:
    """All are there, pages walk through them, and the urgent one goes first."""
    connection = await asyncpg.connect(house.server.url)
    await connection.execute(
        "INSERT INTO task (task_id, kind, owner, task_class, priority, payload, max_attempts)"
        " SELECT 'job_' || lpad(n::text, 26, '0'), 'work', 'usr_anna', 'background', 0, '{}', 5"
        " FROM generate_series(1, 10000) n"
    )
    await connection.close()
    urgent = await submitted(house, task_class="interactive")
    async with house.client() as client:
        for number in range(20):
            task = await client.claim(ClaimTask(kinds=["work"], worker="w", wait_s=0))
            assert task is not None
            assert task.task_id == (f"job_{number:026}" if number else urgent.task_id)
        assert (await client.gpu_status()).queue == {"interactive": 0, "background": 9981}
        seen, cursor = 0, None
        while True:
            page = await client.jobs(ANNA, limit=200, cursor=cursor)
            seen, cursor = seen + len(page.data), page.next_cursor
            if not page.has_more:
                break
    assert seen == 10_001
