"""Sharing as an operator sees it: `nemo gpu`, `/gpu/status`, its live events and the coordinator's metrics."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import httpx

from shared.auth.service_tokens import ServiceIdentity
from shared.settings import SERVICE_PORTS, ServiceSettings
from tests.conftest import ROOT, Platform
from tests.integration.transcription_house import Caller


def nemo_gpu(data_dir: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "services", "gpu", "--once"],
        cwd=ROOT, env=os.environ | {"DATA_DIR": str(data_dir)}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def test_nemo_gpu_shows_who_holds_what(platform: Platform) -> None:
    shown = nemo_gpu(platform.data_dir)
    assert shown.returncode == 0, shown.stderr
    assert "/cpu" in shown.stdout and "Queue: interactive 0" in shown.stdout
    (line,) = [each for each in shown.stdout.splitlines() if each.strip().startswith("transcription  ")]
    assert "resident" in line and "may compute" in line


def test_nemo_gpu_without_a_platform(tmp_path: object) -> None:
    shown = nemo_gpu(tmp_path)
    assert shown.returncode == 1 and "make up" in shown.stdout and "Traceback" not in shown.stderr


def test_the_live_picture(platform: Platform) -> None:
    with platform.client("gustav") as anna:
        status = anna.get("/gpu/status").json()
        assert {each["holder_id"] for each in status["holders"]} == {"gemma", "transcription"}
        device = status["devices"][0]
        assert device["kind"] == "cpu" and device["alarm"] is None and device["leader"]
        assert 0 < device["reserved_bytes"] < device["memory_total_bytes"] - device["reserve_bytes"]
        with anna.stream("GET", "/gpu/events") as events:
            assert events.headers["content-type"].startswith("text/event-stream")
            lines = events.iter_lines()
            assert next(lines).startswith("id: ") and next(lines) == "event: status"
            assert {each["holder_id"] for each in json.loads(next(lines)[6:])["holders"]} == {"gemma", "transcription"}


def test_the_coordinators_figures(platform: Platform) -> None:
    identity = ServiceIdentity.from_settings("api-gateway", ServiceSettings(data_dir=platform.data_dir))
    port = platform.port + SERVICE_PORTS["gpu-coordinator"] - SERVICE_PORTS["api-gateway"]
    with httpx.Client(auth=Caller(identity, "gpu-coordinator", None), timeout=60) as client:
        text = client.get(f"http://127.0.0.1:{port}/metrics").text
    assert 'nemo_gpu_holder_resident{holder="transcription"} 1.0' in text.splitlines()
    assert 'nemo_gpu_swaps_total{holder="transcription",what="wake"}' in text
