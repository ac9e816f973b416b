"""Traces: off by default, one tree over processes, no words of users, and no stranger's parent at the gateway."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import APIRouter

from shared import tracing
from shared.auth.dependencies import PublicRoute
from shared.clients.gpu_coordinator import ORIGIN, CoordinatorClient
from shared.gpu.worker import TaskWorker
from shared.logging import request_id
from shared.schemas.coordinator import SubmitTask, Task
from shared.service import create_service
from shared.settings import ServiceSettings
from tests.collector import Collector, collecting

PARENT = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as found:
        yield found


def test_off_by_default_and_nothing_is_recorded() -> None:
    assert ServiceSettings().otel_exporter_otlp_endpoint is None
    tracing.start("rag", "1", None, 1.0)()
    with tracing.span("work") as span:
        assert span.traceparent is None and tracing.current() is None


def test_without_its_packages_it_says_so_and_the_service_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = builtins.__import__

    def refuse(name: str, *given: Any, **named: Any) -> Any:
        if name.startswith("opentelemetry"):
            raise ImportError(name)
        return real(name, *given, **named)

    monkeypatch.setattr(builtins, "__import__", refuse)
    stop = tracing.start("rag", "1", "http://127.0.0.1:9", 1.0)
    with tracing.span("work"):
        pass
    stop()
    assert "nemo-server[traces]" in caplog.text


def test_a_failure_is_told_without_its_words(collector: Collector) -> None:
    stop = tracing.start("rag", "1", collector.url, 1.0)
    with pytest.raises(ValueError, match="private"), tracing.span("outer"), tracing.span("inner"):
        raise ValueError("private words")
    stop()
    inner, outer = sorted(collector.spans, key=lambda each: each.name)
    assert inner.trace == outer.trace and inner.parent == outer.span and outer.parent == ""
    assert b"private" not in b"".join(collector.raw)


def test_a_share_of_none_records_none(collector: Collector) -> None:
    stop = tracing.start("rag", "1", collector.url, 0.0)
    with tracing.span("work"):
        pass
    stop()
    assert collector.spans == []


def test_a_collector_that_is_away_costs_nothing_but_its_spans() -> None:
    stop = tracing.start("rag", "1", "http://127.0.0.1:9", 1.0)
    with tracing.span("work"):
        pass
    stop()


@pytest.mark.parametrize("given", ["nonsense", "00-" + "0" * 32 + "-" + "1" * 16 + "-01", PARENT + "-more"])
def test_a_parent_that_is_none_begins_a_trace(collector: Collector, given: str) -> None:
    stop = tracing.start("rag", "1", collector.url, 1.0)
    with tracing.span("work", parent=given):
        pass
    stop()
    assert collector.spans[0].parent == ""


async def test_what_goes_round_by_itself_is_not_recorded(collector: Collector) -> None:
    app = create_service("rag", ServiceSettings(), routers=[])
    stop = tracing.start("rag", "1", collector.url, 1.0)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://house") as client:
        await client.get("/health")
    tracing.begun("GET rag", "client").end()
    await asyncio.to_thread(stop)
    assert collector.spans == []


@pytest.mark.parametrize(("service", "joined"), [("rag", True), ("api-gateway", False)])
async def test_a_service_goes_on_with_a_trace_and_the_gateway_begins_one(
    collector: Collector, service: str, joined: bool
) -> None:
    router = APIRouter()

    @router.get("/things/{thing}", dependencies=[PublicRoute])
    async def thing(thing: str) -> dict[str, str]:
        return {"now": tracing.current() or ""}

    app = create_service(service, ServiceSettings(), routers=[router])
    stop = tracing.start(service, "1", collector.url, 1.0)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://house") as client:
        answer = await client.get("/things/private", params={"q": "words"}, headers={"traceparent": PARENT})
        await client.get("/live")
    await asyncio.to_thread(stop)
    (seen,) = collector.spans
    assert seen.name == "GET /things/{thing}" and seen.attributes["http.response.status_code"] == 200
    assert seen.service == f"nemo-{service}" and answer.json()["now"].split("-")[1] == seen.trace
    assert (seen.trace, seen.parent) == (PARENT.split("-")[1], PARENT.split("-")[2]) if joined else seen.parent == ""
    assert b"private" not in b"".join(collector.raw) and b"words" not in b"".join(collector.raw)


class Told(CoordinatorClient):
    """The client itself; only the network is not there."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []

    async def json(self, method: str, path: str, *, user: Any, body: Any = None, **named: Any) -> Any:
        self.bodies.append(body)
        state = {"task_id": "job_1", "owner": None, "token": 1, "attempt": 1, "created_at": "2026-01-01T00:00:00Z"}
        kept = {name: body[name] for name in ("kind", "payload", "task_class", "priority") if name in body}
        return (
            {"kind": "work", "payload": {}, "task_class": "background", "priority": 0, "state": "running"}
            | state
            | kept
        )


async def test_durable_work_belongs_to_the_request_that_asked_for_it(collector: Collector) -> None:
    client, ran = Told(), []
    stop = tracing.start("rag", "1", collector.url, 1.0)
    token = request_id.set("req_asked")
    with tracing.span("asking"):
        task = await client.submit(SubmitTask(kind="work", payload={"recording_id": "rec_1"}))
    request_id.reset(token)

    async def work(context: Any) -> None:
        ran.append(request_id.get())

    worker = TaskWorker(client, {"work": work}, "w")
    claims = iter([task, Task.model_validate(task.model_dump() | {"payload": {ORIGIN: "not ours"}})])
    over = asyncio.Event()

    async def claim(request: Any) -> Task | None:
        if (found := next(claims, None)) is None:
            over.set()
            await asyncio.sleep(3600)
        return found

    client.claim = claim  # type: ignore[method-assign]
    running = asyncio.create_task(worker.run())
    await over.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await asyncio.to_thread(stop)
    assert client.bodies[0]["payload"]["recording_id"] == "rec_1" and ran == ["req_asked", "-"]
    asking = next(each for each in collector.spans if each.name == "asking")
    first, second = (each for each in collector.spans if each.name == "task work")
    assert (first.trace, first.parent) == (asking.trace, asking.span) and second.parent == ""
