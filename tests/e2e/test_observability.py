"""The running stack as an operator sees it: every figure that is shown exists, one id and one trace through all services."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from shared.settings import SERVICE_PORTS
from tests.collector import Collector, collecting
from tests.conftest import AUDIO, Platform
from tests.monitoring import PROMETHEUS_OWN, expressions, named

SCRAPE_TOKEN = secrets.token_hex(32)
UPLOAD, CHAT = "req_upload_of_the_test", "req_chat_of_the_test"
QUESTION = "What should Americans ask about their country, says Quillfeather?"
TOUCHED = {"api-gateway", "transcription", "gpu-coordinator", "rag", "emotion"}


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as found:
        yield found


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, models_dir: Path, collector: Collector) -> Iterator[Platform]:
    """A stack that was used: an upload, a search, a chat, some speech."""
    running = Platform(tmp_path_factory.mktemp("watched") / "data")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SCRAPE_TOKEN", SCRAPE_TOKEN)
        environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        try:
            running.start()
            use(running)
            yield running
        finally:
            running.stop()


def use(running: Platform) -> None:
    with running.client("anna") as anna:
        with (AUDIO / "jfk.flac").open("rb") as file:
            sent = anna.post("/transcription/upload", files={"file": ("jfk.flac", file)}, params={"wait_s": 120},
                             headers={"X-Request-Id": UPLOAD})  # fmt: skip
        assert sent.status_code == 201, sent.text
        anna.post("/rag/search", json={"query": QUESTION}).raise_for_status()
        asked = {"message": QUESTION, "max_tokens": 8}
        anna.post("/gemma/chat", json=asked, headers={"X-Request-Id": CHAT}).raise_for_status()
        assert anna.get("/nowhere-at-all/x").status_code in (200, 404)


def scrapes(house: Platform) -> dict[str, str]:
    """By service, with the scrape token, as Prometheus does."""
    first = house.port - SERVICE_PORTS["api-gateway"]
    found = {}
    for service, port in SERVICE_PORTS.items():
        answer = httpx.get(f"http://127.0.0.1:{first + port}/metrics",
                           headers={"Authorization": f"Bearer {SCRAPE_TOKEN}"}, timeout=30)  # fmt: skip
        assert answer.status_code == 200, (service, answer.text)
        found[service] = answer.text
    return found


def value(text: str, series: str) -> float:
    found = re.search(rf"^{re.escape(series)} (\S+)$", text, re.MULTILINE)
    assert found is not None, series
    return float(found[1])


def test_every_figure_of_a_dashboard_or_an_alert_is_in_a_scrape(house: Platform) -> None:
    found = scrapes(house)
    there = {re.split(r"[{ ]", line, maxsplit=1)[0] for text in found.values() for line in text.splitlines()}
    for where, expression in expressions():
        for metric, _ in named(expression):
            assert metric in there | PROMETHEUS_OWN, f"{where} names {metric}, which no service shows"


def test_the_figures_tell_what_was_done(house: Platform) -> None:
    found = scrapes(house)
    speech, rag = found["transcription"], found["rag"]
    assert 10 < value(speech, "nemo_transcription_audio_seconds_total") < 12
    for stage in ("decode", "vad", "asr", "diarization", "identification", "emotion", "vault"):
        assert value(speech, f'nemo_transcription_stage_seconds_count{{stage="{stage}"}}') == 1
    assert value(speech, 'nemo_transcription_recordings_total{outcome="completed"}') == 1
    assert value(speech, "nemo_transcription_stored_bytes") == (AUDIO / "jfk.flac").stat().st_size
    assert value(speech, "nemo_transcription_backlog_seconds") == 0
    assert value(speech, "nemo_model_starts_total") >= 1 and value(speech, "nemo_model_memory_bytes") > 1e7
    assert value(rag, 'nemo_search_seconds_count{mode="hybrid"}') >= 1 and value(rag, "nemo_vaults_open") == 1
    assert value(found["api-gateway"], 'nemo_sign_ins_total{outcome="ok"}') == 1
    assert value(found["api-gateway"], "nemo_audit_chain_ok") == 1
    assert value(found["gpu-coordinator"], 'nemo_queue_ended_total{outcome="succeeded"}') >= 1
    assert value(found["gpu-coordinator"], "nemo_queue_running_tasks") == 0
    for service, text in found.items():
        assert value(text, 'nemo_scrape_failures_total{part="disk"}') == 0, service


def test_no_scrape_names_a_user_or_holds_an_id(house: Platform) -> None:
    for text in scrapes(house).values():
        labels = " ".join(re.findall(r"\{(.*)\}", text))
        assert not re.search(r"(usr|rec|job|mem|req|ses|conv|msg)_[0-9A-Za-z]{10}", labels)
        assert "anna" not in labels and "Quillfeather" not in text


def test_one_id_is_found_in_the_logs_of_every_service_that_an_upload_touched(house: Platform) -> None:
    text = "".join(path.read_text() for path in (house.data_dir / "logs").glob("*.log*"))
    lines = [json.loads(line[line.index("{") :]) for line in text.splitlines() if f'"{UPLOAD}"' in line]
    assert {each["service"] for each in lines if each["request_id"] == UPLOAD} == TOUCHED
    assert any(each["message"] == "a task begins" for each in lines)
    assert "Quillfeather" not in text and "jfk" not in text


def test_an_upload_and_a_chat_are_one_trace_each_over_all_services(house: Platform, collector: Collector) -> None:
    for asked, services, inner in (
        (UPLOAD, TOUCHED, {"task transcribe", "stage asr", "model transcribe"}),
        (CHAT, {"api-gateway", "gemma", "rag"}, {"POST /gemma/chat"}),
    ):
        spans = whole_trace(collector, asked, {f"nemo-{each}" for each in services}, inner)
        ids = {each.span for each in spans}
        roots = [each for each in spans if each.parent == ""]
        assert len(roots) == 1 and roots[0].service == "nemo-api-gateway"
        assert all(each.parent in ids for each in spans if each.parent)
    sent = b"".join(collector.raw)
    for private in (b"Quillfeather", b"jfk", b"country", b"anna", b"usr_", b"Bearer"):
        assert private not in sent


def whole_trace(collector: Collector, asked: str, services: set[str], names: set[str]) -> list:
    """All spans of the request's trace, once those of all services have come: they are sent every few seconds."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        mine = [each for each in list(collector.spans) if each.attributes.get("nemo.request_id") == asked]
        found = collector.of(mine[0].trace) if mine else []
        ids = {each.span for each in found}
        whole = all(each.parent in ids for each in found if each.parent)
        if services <= {each.service for each in found} and names <= {each.name for each in found} and whole:
            return found
        time.sleep(0.5)
    raise AssertionError(sorted({(each.service, each.name) for each in collector.spans}))
