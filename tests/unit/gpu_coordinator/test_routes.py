"""HTTP of the coordinator: who may see what, what is refused, what a browser is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from services.gpu_coordinator.app import create_app
from services.gpu_coordinator.memory import MemoryTaskStore
from shared.auth.service_tokens import trust_for_tests
from shared.storage.redis import MemoryStore
from tests.unit.gpu_coordinator.contract import ANNA, BERT, QUICK

Ask = Callable[..., Any]


@pytest.fixture
async def ask() -> AsyncIterator[Ask]:
    """`await ask(method, path, user, json=...)`: one signed call of a service, for a user or for itself."""
    app = create_app(QUICK, tasks=MemoryTaskStore(QUICK), events=MemoryStore())
    headers = trust_for_tests(app, "transcription")
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://c") as client:

        async def call(method: str, path: str, user: str | None = None, **kwargs: Any) -> httpx.Response:
            signed = headers(user_id=user) | kwargs.pop("headers", {})
            return await client.request(method, path, headers=signed, **kwargs)

        yield call


async def submit(ask: Ask, **values: Any) -> dict[str, Any]:
    answer = await ask("POST", "/queue/task", json={"kind": "transcribe", "owner": ANNA} | values)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def claim(ask: Ask, wait_s: float = 0) -> dict[str, Any]:
    body = {"kinds": ["transcribe"], "worker": "w/0", "wait_s": wait_s}
    return dict((await ask("POST", "/queue/claim", json=body)).json())


async def test_a_task_by_http(ask: Ask) -> None:
    made = await submit(ask, idempotency_key="k", payload={"recording_id": "rec_1"})
    again = await ask("POST", "/queue/task", json={"kind": "transcribe", "owner": ANNA, "idempotency_key": "k"})
    assert again.status_code == 200 and again.json()["task_id"] == made["task_id"]
    task = await claim(ask)
    assert task["payload"] == {"recording_id": "rec_1"}
    path = f"/queue/tasks/{task['task_id']}"
    report = {"token": task["token"], "progress": {"stage": "speech", "percent": 30}}
    assert (await ask("POST", f"{path}/report", json=report)).json()["progress"]["percent"] == 30
    done = await ask("POST", f"{path}/finish", json={"token": task["token"], "outcome": "succeeded"})
    assert done.json()["state"] == "succeeded"
    stale = await ask("POST", f"{path}/report", json=report)
    assert stale.status_code == 409 and stale.json()["code"] == "stale_token"
    assert (await ask("GET", path)).json()["state"] == "succeeded"
    assert (
        await ask("POST", "/queue/claim", json={"kinds": ["transcribe"], "worker": "w", "wait_s": 0})
    ).status_code == 204


async def test_the_owners_view_hides_the_machine(ask: Ask) -> None:
    task = await submit(ask, payload={"recording_id": "rec_1"})
    job = (await ask("GET", f"/jobs/{task['task_id']}", ANNA)).json()
    assert job["job_id"] == task["task_id"]
    assert not {"payload", "token", "worker", "cursor", "owner", "lease_s"} & set(job)


@pytest.mark.parametrize(("method", "end"), [("GET", ""), ("GET", "/events"), ("POST", "/cancel"), ("POST", "/retry")])
async def test_anothers_job_is_as_absent_as_none(ask: Ask, method: str, end: str) -> None:
    task = await submit(ask)
    other = await ask(method, f"/jobs/{task['task_id']}{end}", BERT)
    none = await ask(method, f"/jobs/job_01ARZ3NDEKTSV4RRFFQ69G5FAV{end}", BERT)
    assert other.status_code == none.status_code == 404
    assert [each.json()[name] for each in (other, none) for name in ("code", "detail")] == [
        "not_found",
        none.json()["detail"],
    ] * 2
    assert (await ask("GET", "/jobs", BERT)).json()["data"] == []
    assert (await ask("GET", f"/queue/tasks/{task['task_id']}")).json()["state"] == "queued"


async def test_jobs_need_a_user(ask: Ask) -> None:
    for path in ("/jobs", "/jobs/job_1", "/jobs/job_1/events"):
        assert (await ask("GET", path)).status_code in (401, 403)


async def test_strangers_are_turned_away(ask: Ask) -> None:
    for method, path in (("GET", "/queue/tasks"), ("POST", "/queue/task"), ("GET", "/gpu/status"), ("GET", "/jobs")):
        answer = await ask(method, path, headers={"Authorization": "Bearer nonsense"})
        assert answer.status_code == 401


async def test_pages_of_jobs(ask: Ask) -> None:
    made = []
    for _ in range(5):
        made.append((await submit(ask))["task_id"])
        await asyncio.sleep(0.002)
    await submit(ask, owner=BERT)
    first = (await ask("GET", "/jobs?limit=3", ANNA)).json()
    assert first["has_more"] and [job["job_id"] for job in first["data"]] == made[:1:-1]
    rest = (await ask("GET", "/jobs", ANNA, params={"limit": 3, "cursor": first["next_cursor"]})).json()
    assert not rest["has_more"] and rest["next_cursor"] is None
    assert [job["job_id"] for job in rest["data"]] == made[1::-1]
    assert len((await ask("GET", "/queue/tasks")).json()["data"]) == 6
    assert (await ask("GET", "/jobs?state=running", ANNA)).json()["data"] == []


async def test_cancel_and_retry(ask: Ask) -> None:
    task = await submit(ask)
    path = f"/jobs/{task['task_id']}"
    assert (await ask("POST", f"{path}/retry", ANNA)).status_code == 409
    assert (await ask("POST", f"{path}/cancel", ANNA)).json()["state"] == "cancelled"
    assert (await ask("POST", f"{path}/retry", ANNA)).json()["state"] == "queued"


async def test_events_carry_ids_and_end(ask: Ask) -> None:
    task = await submit(ask)
    path = f"/jobs/{task['task_id']}/events"
    watching = asyncio.create_task(ask("GET", path, ANNA))
    await asyncio.sleep(0.05)
    claimed = await claim(ask)
    await asyncio.sleep(0.05)
    await ask(
        "POST", f"/queue/tasks/{task['task_id']}/finish", json={"token": claimed["token"], "outcome": "succeeded"}
    )
    answer = await asyncio.wait_for(watching, 30)
    assert answer.headers["content-type"].startswith("text/event-stream")
    blocks = [dict(line.split(": ", 1) for line in block.splitlines()) for block in answer.text.strip().split("\n\n")]
    assert [json.loads(block["data"])["state"] for block in blocks] == ["queued", "running", "succeeded"]
    assert len({block["id"] for block in blocks}) == 3 and {block["event"] for block in blocks} == {"progress"}
    missed = await ask("GET", path, ANNA, headers={"Last-Event-ID": blocks[1]["id"]})
    assert missed.text.count("event: ") == 1 and '"succeeded"' in missed.text
    over = await ask("GET", path, ANNA, headers={"Last-Event-ID": blocks[2]["id"]})
    assert over.status_code == 204 and over.content == b""


async def test_a_deleted_owner(ask: Ask) -> None:
    task = await submit(ask)
    assert (await ask("DELETE", f"/queue/owner/{ANNA}")).status_code == 204
    assert (await ask("GET", f"/queue/tasks/{task['task_id']}")).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"kind": "Bad Kind"},
        {"kind": "k" * 65},
        {"kind": "transcribe", "priority": 1000},
        {"kind": "transcribe", "max_attempts": 0},
        {"kind": "transcribe", "task_class": "vip"},
        {"kind": "transcribe", "owner": ""},
        {"kind": "transcribe", "owner": "usr\0"},
        {"kind": "transcribe", "payload": {"n": "\0"}},
        {"kind": "transcribe", "payload": {"n": "x" * 300_000}},
        {"kind": "transcribe", "payload": []},
        {"kind": "transcribe", "idempotency_key": "a\0b"},
        {"kind": "transcribe", "idempotency_key": "x" * 201},
        {"kind": "transcribe", "surprise": 1},
    ],
)
async def test_bad_tasks_are_refused(ask: Ask, body: dict[str, Any]) -> None:
    answer = await ask("POST", "/queue/task", json=body)
    assert answer.status_code == 422 and answer.json()["errors"]


@pytest.mark.parametrize("raw", [b'{"kind": "transcribe", "payload": {"n": NaN}}', b"{", b"", b"\xff", b"[" * 100_000])
async def test_bad_json_is_refused(ask: Ask, raw: bytes) -> None:
    answer = await ask("POST", "/queue/task", content=raw, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422) and answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("token", [-1, 2**63, "x", None, 1.5])
async def test_bad_tokens_are_refused(ask: Ask, token: Any) -> None:
    task = await submit(ask)
    for call, rest in (("report", {}), ("finish", {"outcome": "failed"})):
        answer = await ask("POST", f"/queue/tasks/{task['task_id']}/{call}", json={"token": token} | rest)
        assert answer.status_code == 422


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "state=asleep"])
async def test_bad_pages_are_refused(ask: Ask, query: str) -> None:
    assert (await ask("GET", f"/jobs?{query}", ANNA)).status_code == 422
    assert (await ask("GET", f"/queue/tasks?{query}")).status_code == 422


async def test_a_reason_is_cut_not_refused(ask: Ask) -> None:
    await submit(ask)
    task = await claim(ask)
    body = {"token": task["token"], "outcome": "failed", "retry": False, "error": "a\0" + "b" * 5000}
    ended = await ask("POST", f"/queue/tasks/{task['task_id']}/finish", json=body)
    assert ended.json()["state"] == "failed" and ended.json()["error"] == "a" + "b" * 1999
