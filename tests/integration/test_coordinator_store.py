"""The queue on real PostgreSQL: the contract, and what only a database can get wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

import services.gpu_coordinator
from services.gpu_coordinator.device import found
from services.gpu_coordinator.holders import PostgresHolders
from services.gpu_coordinator.repository import PostgresTaskStore
from services.gpu_coordinator.service import forget_old
from services.gpu_coordinator.settings import Settings
from shared.errors import Invalid
from shared.storage import postgres
from tests.unit.gpu_coordinator.contract import QUICK, RETRY_S, TaskStoreContract, claimed, end, work

MIGRATIONS = Path(services.gpu_coordinator.__file__).parent / "migrations"


@pytest.fixture
async def pool(postgres_url: str) -> AsyncIterator[postgres.Pool]:
    made = await postgres.connect(postgres_url, max_size=10)
    await postgres.migrate(made, "gpu-coordinator", MIGRATIONS)
    yield made
    await made.close()


@pytest.fixture
def store(pool: postgres.Pool) -> PostgresTaskStore:
    return PostgresTaskStore(pool, QUICK)


class TestPostgresTaskStore(TaskStoreContract):
    pass


async def test_every_step_leaves_its_event(store: PostgresTaskStore, pool: postgres.Pool) -> None:
    task, _ = await store.submit(work(max_attempts=2))
    await store.submit(work(idempotency_key="k"))
    await store.submit(work(idempotency_key="k"))
    await end(store, await claimed(store), "failed", error="once")
    await asyncio.sleep(RETRY_S * 1.2)
    await end(store, await claimed(store))
    rows = await pool.fetch(
        "SELECT state, token, detail FROM task_event WHERE task_id = $1 ORDER BY event_id", task.task_id
    )
    assert [row["state"] for row in rows] == ["queued", "running", "queued", "running", "succeeded"]
    assert rows[2]["detail"] == "once"
    tokens = [row["token"] for row in rows]
    assert tokens == sorted(tokens)
    assert await pool.fetchval("SELECT count(*) FROM task_event WHERE task_id <> $1", task.task_id) == 1


async def test_history_is_not_rewritten(store: PostgresTaskStore, pool: postgres.Pool) -> None:
    await store.submit(work())
    with pytest.raises(asyncpg.RaiseError, match="append-only"):
        await pool.execute("UPDATE task_event SET state = 'succeeded'")


async def test_text_that_no_database_takes_is_the_senders_fault(store: PostgresTaskStore) -> None:
    with pytest.raises(Invalid):
        await store.get("job_\0")
    with pytest.raises(Invalid):
        await store.page(None, 10, "\0", None)


async def test_the_device_is_registered_once(pool: postgres.Pool) -> None:
    for _ in range(2):
        await PostgresHolders(pool).add_device(found("cpu")[0].device)
    rows = await pool.fetch("SELECT * FROM device")
    assert len(rows) == 1 and rows[0]["kind"] == "cpu" and rows[0]["memory_total_bytes"] > 2**28


@pytest.mark.parametrize("kind", ["transcribe", "rebuild"])
async def test_ten_thousand_waiting_tasks_are_not_sorted_for_a_claim(pool: postgres.Pool, kind: str) -> None:
    """Of the asked kind, and of another that nobody serves."""
    store = PostgresTaskStore(pool, Settings())
    await pool.execute(
        "INSERT INTO task (task_id, kind, owner, task_class, priority, payload, max_attempts)"
        " SELECT 'job_' || lpad(n::text, 26, '0'), 'transcribe', 'usr_anna', 'background', n % 7, '{}', 5"
        " FROM generate_series(1, 10000) n"
    )
    await pool.execute("ANALYZE task")  # as autovacuum does within a minute
    for _ in range(30):
        await store.submit(work(kind))
        assert await store.claim([kind], "w") is not None
    plan = await pool.fetch(
        "EXPLAIN SELECT task_id FROM task WHERE state = 'queued' AND kind = ANY($1) AND run_after <= now()"
        " ORDER BY task_class DESC, priority DESC, task_id LIMIT 1 FOR UPDATE SKIP LOCKED",
        ["transcribe"],
    )
    assert not any("Sort" in row[0] for row in plan)


async def test_four_workers_drain_a_crowd_exactly_once(store: PostgresTaskStore, pool: postgres.Pool) -> None:
    await asyncio.gather(*(store.submit(work()) for _ in range(300)))
    done: list[str] = []

    async def drain(name: str) -> None:
        while task := await store.claim(["transcribe"], name):
            done.append((await end(store, task)).task_id)

    await asyncio.gather(*(drain(f"w/{n}") for n in range(4)))
    assert len(done) == len(set(done)) == 300
    assert await pool.fetchval("SELECT count(*) FROM task_event") == 900


async def test_a_connection_goes_back_as_it_came(pool: postgres.Pool) -> None:
    """Sessions are not wiped between uses (ADR 10), so nobody may leave anything in one."""
    from services.gpu_coordinator.service import Doorbell, listen

    bell = Doorbell()
    listening = asyncio.create_task(listen(pool, bell))
    await asyncio.sleep(0.3)
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    held = [await pool.acquire() for _ in range(pool.get_size())]
    for connection in held:
        assert await connection.fetch("SELECT * FROM pg_listening_channels()") == []
        locks = "SELECT * FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
        assert await connection.fetch(locks) == []
        changed = "SELECT name FROM pg_settings WHERE source = 'session'"
        assert await connection.fetch(changed) == []
        await pool.release(connection)


async def test_records_are_kept_for_their_time_only(store: PostgresTaskStore, pool: postgres.Pool) -> None:
    holders = PostgresHolders(pool, 15)
    device = found("cpu")[0].device
    await holders.add_device(device)
    for days in (0, 2):
        await pool.execute(
            "INSERT INTO memory_sample (device_id, used, at) VALUES ($1, '{}', now() - make_interval(days => $2))",
            device.device_id,
            days,
        )
    for days in (0, 29, 31):
        await pool.execute(
            "INSERT INTO swap_log (device_id, holder_id, epoch, what, why, at)"
            " VALUES ($1, 'gemma', 1, 'turn', 'a test', now() - make_interval(days => $2))",
            device.device_id,
            days,
        )
    task, _ = await store.submit(work())
    await end(store, await claimed(store))
    await pool.execute("UPDATE task SET finished_at = now() - interval '31 days' WHERE task_id = $1", task.task_id)
    tidying = asyncio.create_task(forget_old(store, holders, days=30))
    try:
        async with asyncio.timeout(10):
            while await pool.fetchval("SELECT count(*) FROM swap_log") != 2:
                await asyncio.sleep(0.02)
        assert await pool.fetchval("SELECT count(*) FROM memory_sample") == 1
        assert await pool.fetchval("SELECT count(*) FROM task") == 0
    finally:
        tidying.cancel()
