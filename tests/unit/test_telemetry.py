"""Figures: made at the start, bounded, of the service whose work they count."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from pathlib import Path

import httpx
import pytest

from shared import telemetry
from shared.auth.service_tokens import trust_for_tests
from shared.errors import codes
from shared.figures import CATALOGUE, OF_SERVICE, of_service
from shared.logging import JsonLines, PlainLines, request_id
from shared.service import create_service
from shared.settings import SERVICE_PORTS, ServiceSettings
from shared.telemetry import Metrics

UNITS = ("_total", "_seconds", "_bytes", "_ok", "_info", "_open", "_tasks", "_recordings", "_sessions")


def test_names_are_prometheus_own() -> None:
    assert set(OF_SERVICE) == set(SERVICE_PORTS)
    for name, figure in CATALOGUE.items():
        assert re.fullmatch(r"nemo_[a-z_]+", name) and figure.about.endswith(".")
        assert (figure.kind == "counter") == name.endswith("_total"), name
        assert not re.search(r"_(ms|mb|kb|minutes|percent)(_|$)", name)
        assert not set(figure.labels) & {"user", "owner", "id", "task_id", "path", "title", "text", "query"}


@pytest.mark.parametrize("service", sorted(SERVICE_PORTS))
async def test_all_are_there_before_anything_was_counted(service: str) -> None:
    text = (await Metrics(service).read()).decode()
    for figure in of_service(service):
        ending = "_count" if figure.kind == "histogram" else ""
        assert f"# HELP {figure.name} " in text
        if all(figure.labels.values()):
            found = re.findall(rf"^{figure.name}{ending}(?:{{.*}})? (\S+)$", text, re.MULTILINE)
            assert found and set(found) == {"0.0"}, figure.name
    assert "process_start_time_seconds" in text and "_created" not in text


async def test_an_unknown_value_of_a_label_is_other_and_an_unknown_name_a_mistake() -> None:
    metrics = Metrics("rag")
    metrics.took("nemo_search_seconds", 0.2, mode="my private words")
    text = (await metrics.read()).decode()
    assert 'nemo_search_seconds_count{mode="other"} 1.0' in text and "private" not in text
    with pytest.raises(KeyError):
        metrics.count("nemo_unheard_of_total")


async def test_what_cannot_be_asked_is_counted_and_costs_no_other_figure(caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics("rag")

    async def broken(to: Metrics) -> None:
        raise OSError("a path of somebody")

    metrics.watch("disk", broken)
    metrics.ask("nemo_vaults_open", lambda: 3)
    assert 'nemo_scrape_failures_total{part="disk"} 0.0' in (await text_of(metrics, asked=False))
    text = await text_of(metrics)
    assert 'nemo_scrape_failures_total{part="disk"} 1.0' in text and "nemo_vaults_open 3.0" in text
    assert "somebody" not in caplog.text


async def text_of(metrics: Metrics, *, asked: bool = True) -> str:
    if asked:
        return (await metrics.read()).decode()
    from prometheus_client import generate_latest

    return generate_latest(metrics.registry).decode()


async def test_it_is_asked_no_oftener_than_it_says() -> None:
    metrics, asked = Metrics("rag"), []

    async def look(to: Metrics) -> None:
        asked.append(1)

    metrics.watch("seldom", look, every_s=3600)
    metrics.watch("always", look)
    await metrics.read()
    await metrics.read()
    assert len(asked) == 3


async def test_work_counts_for_the_service_that_began_it() -> None:
    first, second = Metrics("rag"), Metrics("gemma")

    async def work() -> None:
        await asyncio.sleep(0)
        telemetry.here().count("nemo_errors_total", code="busy")

    for metrics in (first, second, second):
        token = telemetry.enter(metrics)
        task = asyncio.create_task(work())
        telemetry.leave(token)
        await task
    assert 'nemo_errors_total{code="busy"} 1.0' in await text_of(first)
    assert 'nemo_errors_total{code="busy"} 2.0' in await text_of(second)


async def test_a_gauge_is_read_by_the_loop_and_a_folder_that_is_not_there_yet_has_a_disk(tmp_path: Path) -> None:
    app = create_service("rag", ServiceSettings(data_dir=tmp_path / "not" / "yet"), routers=[])
    app.state.metrics.ask("nemo_vaults_open", lambda: asyncio.get_running_loop().time() * 0 + 5)
    text = await text_of(app.state.metrics)
    assert "nemo_vaults_open 5.0" in text and 'nemo_scrape_failures_total{part="disk"} 0.0' in text


async def test_errors_are_counted_by_code_and_the_disk_is_seen(tmp_path: Path) -> None:
    app = create_service("rag", ServiceSettings(data_dir=tmp_path), routers=[])
    signed = trust_for_tests(app)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://rag") as client:
        assert (await client.get("/nowhere")).status_code == 404
        text = (await client.get("/metrics", headers=signed())).text
    assert 'nemo_errors_total{code="not_found"} 1.0' in text
    for code in codes():
        assert f'nemo_errors_total{{code="{code}"}}' in text
    free = re.search(r"^nemo_disk_free_bytes (\S+)$", text, re.MULTILINE)
    assert free is not None and float(free[1]) > 0
    assert re.search(r'^nemo_build_info{version="[^"]+"} 1.0$', text, re.MULTILINE)


def test_a_line_for_a_machine_and_one_for_a_reader() -> None:
    record = logging.makeLogRecord({"levelname": "INFO", "name": "rag", "msg": "request", "status": 200})
    token = request_id.set("req_1")
    try:
        machine, reader = JsonLines("rag").format(record), PlainLines("rag").format(record)
    finally:
        request_id.reset(token)
    assert json.loads(machine)["request_id"] == "req_1" and json.loads(machine)["status"] == 200
    assert re.fullmatch(r"\S+ INFO    rag \[req_1\] request status=200", reader)
