"""What every TaskStore must do: one suite, run over the one in memory here and over PostgreSQL in tests/integration."""

from __future__ import annotations

import asyncio

import pytest

from services.gpu_coordinator.repository import StaleToken, TaskStore
from services.gpu_coordinator.settings import Settings
from shared.errors import Conflict, NotFound
from shared.schemas.coordinator import FinishTask, Progress, ReportTask, SubmitTask, Task

LEASE_S, RETRY_S = 1.0, 0.5
"""Long enough that a moment in which the machine did something else ends neither."""
QUICK = Settings(lease_s=LEASE_S, retry_base_s=RETRY_S, retry_most_s=RETRY_S, sweep_s=0.05)
ANNA, BERT = "usr_anna", "usr_bert"


def work(kind: str = "transcribe", **values: object) -> SubmitTask:
    return SubmitTask.model_validate({"kind": kind, "owner": ANNA} | values)


async def claimed(store: TaskStore, *kinds: str) -> Task:
    task = await store.claim(kinds or ("transcribe",), "w/0")
    assert task is not None
    return task


async def end(store: TaskStore, task: Task, outcome: str = "succeeded", **values: object) -> Task:
    return await store.finish(
        task.task_id, FinishTask.model_validate({"token": task.token, "outcome": outcome} | values)
    )


class TaskStoreContract:
    async def test_a_task_goes_its_way(self, store: TaskStore) -> None:
        task, new = await store.submit(work(payload={"recording_id": "rec_1"}))
        assert new and task.state == "queued" and task.attempt == 0
        running = await claimed(store)
        assert (running.task_id, running.state, running.attempt) == (task.task_id, "running", 1)
        assert running.payload == {"recording_id": "rec_1"} and running.worker == "w/0"
        assert running.started_at is not None and running.lease_s == LEASE_S
        done = await end(store, running, result={"transcript_id": "rec_1"})
        assert done.state == "succeeded" and done.result == {"transcript_id": "rec_1"} and done.finished_at
        assert await store.claim(["transcribe"], "w/0") is None

    async def test_the_same_key_is_the_same_task(self, store: TaskStore) -> None:
        first, new = await store.submit(work(idempotency_key="k"))
        again, again_new = await store.submit(work(idempotency_key="k"))
        assert new and not again_new and again.task_id == first.task_id
        await end(store, await claimed(store))
        finished, _ = await store.submit(work(idempotency_key="k"))
        assert finished.task_id == first.task_id and finished.state == "succeeded"

    async def test_a_key_belongs_to_its_owner_and_kind(self, store: TaskStore) -> None:
        tasks = [
            (await store.submit(each))[0].task_id
            for each in (
                work(idempotency_key="k"),
                work(idempotency_key="k", owner=BERT),
                work(idempotency_key="k", owner=None),
                work("rebuild", idempotency_key="k"),
                work(),
                work(),
            )
        ]
        assert len(set(tasks)) == 6

    async def test_fifty_at_once_with_one_key_make_one_task(self, store: TaskStore) -> None:
        made = await asyncio.gather(*(store.submit(work(idempotency_key="k")) for _ in range(50)))
        assert len({task.task_id for task, _ in made}) == 1 and sum(new for _, new in made) == 1

    async def test_order_is_class_then_priority_then_age(self, store: TaskStore) -> None:
        for name, values in {
            "late": {"priority": -5},
            "old": {},
            "young": {},
            "urgent": {"priority": 5},
            "chat": {"task_class": "interactive", "priority": -100},
        }.items():
            await store.submit(work(payload={"name": name}, **values))
            await asyncio.sleep(0.002)
        names = [(await claimed(store)).payload["name"] for _ in range(5)]
        assert names == ["chat", "urgent", "old", "young", "late"]

    async def test_only_asked_kinds_are_given(self, store: TaskStore) -> None:
        await store.submit(work("rebuild"))
        assert await store.claim(["transcribe"], "w") is None
        assert (await claimed(store, "transcribe", "rebuild")).kind == "rebuild"

    async def test_parallel_claims_never_share(self, store: TaskStore) -> None:
        for _ in range(20):
            await store.submit(work())
        given = await asyncio.gather(*(store.claim(["transcribe"], f"w/{n}") for n in range(30)))
        ids = [task.task_id for task in given if task]
        assert len(ids) == len(set(ids)) == 20
        tokens = [task.token for task in given if task]
        assert len(set(tokens)) == 20

    async def test_a_report_renews_and_keeps_the_cursor(self, store: TaskStore) -> None:
        await store.submit(work())
        task = await claimed(store)
        for step in range(4):
            await asyncio.sleep(LEASE_S * 0.3)
            assert await store.recover() == []
            report = ReportTask(
                token=task.token, progress=Progress(stage="speech", percent=step), cursor={"chunk": step}
            )
            told = await store.report(task.task_id, report)
        assert told.progress == Progress(stage="speech", percent=3) and told.cursor == {"chunk": 3}
        bare = await store.report(task.task_id, ReportTask(token=task.token))
        assert bare.cursor == {"chunk": 3} and bare.progress.percent == 3
        emptied = await store.report(task.task_id, ReportTask(token=task.token, cursor={}))
        assert emptied.cursor == {}

    async def test_a_silent_workers_task_is_given_to_another(self, store: TaskStore) -> None:
        await store.submit(work())
        zombie = await claimed(store)
        await store.report(zombie.task_id, ReportTask(token=zombie.token, cursor={"chunk": 7}))
        assert await store.recover() == []
        await asyncio.sleep(LEASE_S * 1.2)
        back = await store.recover()
        assert [task.task_id for task in back] == [zombie.task_id] and back[0].state == "queued"
        heir = await claimed(store)
        assert heir.cursor == {"chunk": 7} and heir.attempt == 2 and heir.token > zombie.token

    async def test_a_zombie_changes_nothing(self, store: TaskStore) -> None:
        await store.submit(work())
        zombie = await claimed(store)
        await asyncio.sleep(LEASE_S * 1.2)
        await store.recover()
        heir = await claimed(store)
        for attempt in (
            store.report(zombie.task_id, ReportTask(token=zombie.token, cursor={"chunk": 99})),
            end(store, zombie, result={"by": "zombie"}),
            end(store, zombie, "failed", error="zombie"),
            end(store, zombie, "released"),
        ):
            with pytest.raises(StaleToken):
                await attempt
        now = await store.get(heir.task_id)
        assert now.state == "running" and now.token == heir.token and now.cursor is None and now.attempt == 2
        assert (await end(store, heir, result={"by": "heir"})).result == {"by": "heir"}

    async def test_a_finished_task_is_finished(self, store: TaskStore) -> None:
        await store.submit(work())
        task = await claimed(store)
        await end(store, task)
        for outcome in ("succeeded", "failed", "released", "cancelled"):
            with pytest.raises(StaleToken):
                await end(store, task, outcome)

    async def test_failures_wait_longer_and_end_dead(self, store: TaskStore) -> None:
        await store.submit(work(max_attempts=2))
        again = await end(store, await claimed(store), "failed", error="no model")
        assert again.state == "queued" and again.error == "no model" and again.finished_at is None
        assert await store.claim(["transcribe"], "w") is None
        await asyncio.sleep(RETRY_S * 1.2)
        dead = await end(store, await claimed(store), "failed", error="no model")
        assert dead.state == "dead" and dead.finished_at and dead.attempt == 2

    async def test_what_cannot_be_helped_is_not_tried_again(self, store: TaskStore) -> None:
        await store.submit(work())
        failed = await end(store, await claimed(store), "failed", error="not audio", retry=False)
        assert failed.state == "failed" and failed.finished_at and failed.error == "not audio"

    async def test_silence_is_charged_and_ends_dead(self, store: TaskStore) -> None:
        await store.submit(work(max_attempts=1))
        await claimed(store)
        await asyncio.sleep(LEASE_S * 1.2)
        assert [task.state for task in await store.recover()] == ["dead"]

    async def test_release_is_not_charged(self, store: TaskStore) -> None:
        await store.submit(work(max_attempts=1))
        for _ in range(3):
            task = await claimed(store)
            back = await end(store, task, "released")
            assert back.state == "queued" and back.attempt == 0 and back.token > task.token
        assert (await end(store, await claimed(store))).state == "succeeded"

    async def test_what_was_put_off_waits_until_its_owner_is_woken(self, store: TaskStore) -> None:
        await store.submit(work(owner="usr_a"))
        back = await store.finish(
            (task := await claimed(store)).task_id, FinishTask(token=task.token, outcome="released", after_s=3600)
        )
        assert back.state == "queued" and back.attempt == 0
        await store.wake("usr_b")
        assert await store.claim(["transcribe"], "w") is None
        await store.wake("usr_a")
        assert (await claimed(store)).task_id == task.task_id

    async def test_cancel_ends_what_waits_at_once(self, store: TaskStore) -> None:
        task, _ = await store.submit(work())
        cancelled = await store.cancel(task.task_id)
        assert cancelled.state == "cancelled" and cancelled.finished_at
        assert await store.claim(["transcribe"], "w") is None
        assert (await store.cancel(task.task_id)).state == "cancelled"

    async def test_cancel_asks_what_runs(self, store: TaskStore) -> None:
        await store.submit(work())
        task = await claimed(store)
        asked = await store.cancel(task.task_id)
        assert asked.state == "running" and asked.cancel_requested
        assert (await store.report(task.task_id, ReportTask(token=task.token))).cancel_requested
        assert (await end(store, task, "cancelled")).state == "cancelled"

    @pytest.mark.parametrize("outcome", ["failed", "released"])
    async def test_a_cancelled_run_is_not_tried_again(self, store: TaskStore, outcome: str) -> None:
        await store.submit(work())
        task = await claimed(store)
        await store.cancel(task.task_id)
        ended = await end(store, task, outcome)
        assert ended.state == "cancelled" and ended.finished_at

    async def test_a_dead_worker_cannot_hold_up_a_cancel(self, store: TaskStore) -> None:
        await store.submit(work())
        task = await claimed(store)
        await store.cancel(task.task_id)
        await asyncio.sleep(LEASE_S * 1.2)
        assert [each.state for each in await store.recover()] == ["cancelled"]

    async def test_cancel_after_the_end_changes_nothing(self, store: TaskStore) -> None:
        await store.submit(work())
        done = await end(store, await claimed(store))
        assert await store.cancel(done.task_id) == done

    async def test_retry_starts_over(self, store: TaskStore) -> None:
        await store.submit(work(max_attempts=1))
        dead = await end(store, await claimed(store), "failed", error="x")
        again = await store.retry(dead.task_id)
        assert (again.state, again.attempt, again.error, again.finished_at) == ("queued", 0, None, None)
        running = await claimed(store)
        assert running.token > dead.token and running.attempt == 1
        with pytest.raises(Conflict):
            await store.retry(running.task_id)
        await end(store, running)
        with pytest.raises(Conflict):
            await store.retry(running.task_id)

    async def test_retry_of_what_was_cancelled(self, store: TaskStore) -> None:
        task, _ = await store.submit(work())
        await store.cancel(task.task_id)
        again = await store.retry(task.task_id)
        assert again.state == "queued" and not again.cancel_requested

    async def test_anothers_task_is_not_there(self, store: TaskStore) -> None:
        task, _ = await store.submit(work())
        for attempt in (
            store.get(task.task_id, BERT),
            store.cancel(task.task_id, BERT),
            store.retry(task.task_id, BERT),
            store.get("job_nothing"),
            store.cancel("job_nothing"),
            store.retry("job_nothing"),
        ):
            with pytest.raises(NotFound):
                await attempt
        assert (await store.get(task.task_id, ANNA)).state == "queued"
        assert await store.page(BERT, 10, None, None) == []

    async def test_pages_are_newest_first_and_whole(self, store: TaskStore) -> None:
        made = []
        for number in range(7):
            made.append((await store.submit(work(owner=ANNA if number % 2 else BERT)))[0].task_id)
            await asyncio.sleep(0.002)
        seen: list[str] = []
        while page := await store.page(None, 3, seen[-1] if seen else None, None):
            seen += [task.task_id for task in page]
        assert seen == made[::-1]
        assert [task.task_id for task in await store.page(ANNA, 10, None, "queued")] == made[5::-2]
        assert await store.page(ANNA, 10, None, "running") == []

    async def test_counts_are_of_what_lives(self, store: TaskStore) -> None:
        assert await store.counts() == {}
        for task_class in ("background", "background", "interactive", "interactive"):
            await store.submit(work(task_class=task_class))
        await end(store, await claimed(store))
        await claimed(store)
        assert await store.counts() == {"background": 2, "running": 1}

    async def test_a_deleted_owner_leaves_nothing(self, store: TaskStore) -> None:
        mine, _ = await store.submit(work(idempotency_key="k"))
        running = await claimed(store)
        other, _ = await store.submit(work(owner=BERT))
        await store.delete_owner(ANNA)
        with pytest.raises(NotFound):
            await store.get(mine.task_id)
        with pytest.raises(StaleToken):
            await end(store, running)
        fresh, new = await store.submit(work(idempotency_key="k"))
        assert new and fresh.task_id != mine.task_id
        assert (await store.get(other.task_id)).state == "queued"

    async def test_what_ended_well_is_forgotten_after_its_time(self, store: TaskStore) -> None:
        done, _ = await store.submit(work())
        await end(store, await claimed(store))
        failed, _ = await store.submit(work(max_attempts=1))
        await end(store, await claimed(store), "failed", error="not audio")
        waits, _ = await store.submit(work())
        assert await store.forget(days=1) == 0
        await asyncio.sleep(0.01)
        assert await store.forget(days=0) == 1
        with pytest.raises(NotFound):
            await store.get(done.task_id)
        assert (await store.get(failed.task_id)).error == "not audio"
        assert (await store.get(waits.task_id)).state == "queued"
