"""Coordinators and holders as processes over real PostgreSQL and Redis, around one fake device."""

from __future__ import annotations

import itertools
import json
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from shared.auth.service_tokens import ServiceIdentity
from shared.gpu.fake import FakeDevice
from shared.settings import ServiceSettings
from tests.conftest import ROOT, free_ports
from tests.integration.transcription_house import Caller, House

GB = 10**9
QUICK = {
    "GPU_COORDINATOR_LINGER_S": "0.5",
    "GPU_COORDINATOR_LEASE_S": "6",
    "GPU_COORDINATOR_SWEEP_S": "0.5",
    "GPU_COORDINATOR_HOLDER_LEASE_S": "8",
    "GPU_COORDINATOR_PARK_S": "3",
    "GPU_COORDINATOR_VERIFY_S": "4",
}
PATIENT = {"GPU_COORDINATOR_LEASE_S": "60", "GPU_COORDINATOR_HOLDER_LEASE_S": "60"}
"""However long a coordinator takes to start, nobody has lost a lease meanwhile."""


class HolderProcess:
    """One supervisor with its model's process; ask it for chats."""

    def __init__(self, house: GpuHouse, name: str, size: int, *more: str) -> None:
        self.name = name
        log = (house.folder / f"{name}.log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.gpu_holder", name, str(house.device.path), str(size), *more],
            cwd=ROOT, env=house.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
        )  # fmt: skip
        self._answers: dict[int, dict[str, Any]] = {}
        self._news: queue.Queue[dict[str, Any]] = queue.Queue()
        self._ids = itertools.count(1)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._news.put(json.loads(line))

    def ask(self, tokens: int = 5, seconds: float = 0.01, **more: Any) -> int:
        number = next(self._ids)
        assert self.process.stdin is not None
        self.process.stdin.write(
            json.dumps({"id": number, "tokens": tokens, "seconds": seconds, **more}).encode() + b"\n"
        )
        self.process.stdin.flush()
        return number

    def answer(self, number: int, within_s: float = 60) -> dict[str, Any]:
        deadline = time.monotonic() + within_s
        while number not in self._answers:
            try:
                found = self._news.get(timeout=max(0.01, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"{self.name} did not answer within {within_s} s") from None
            self._answers[found["id"]] = found
        return self._answers[number]

    def chat(self, **ask: Any) -> dict[str, Any]:
        return self.answer(self.ask(**ask))

    def model_pid(self) -> int | None:
        pid: int | None = self.chat(do="pid")["pid"]
        return pid

    def stop(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait(10)


class GpuHouse(House):
    """`device`: 10 GB that two models of 6 GB cannot share, unless said otherwise."""

    def __init__(self, folder: Path, database_url: str, redis_url: str, *, total: int = 10 * GB, **extra: str) -> None:
        self.device = FakeDevice.make(folder / "gpu0.json", total)
        super().__init__(
            folder, database_url, redis_url, **{"GPU_COORDINATOR_DEVICES": f"fake:{self.device.path}"} | QUICK | extra
        )
        self.holders: list[HolderProcess] = []

    def holder(self, name: str, size: int = 6 * GB, *more: str) -> HolderProcess:
        made = HolderProcess(self, name, size, *more)
        self.holders.append(made)
        return made

    def second_coordinator(self) -> subprocess.Popen[bytes]:
        log = (self.folder / "second.log").open("ab")
        port = free_ports(1)
        return subprocess.Popen(
            [sys.executable, "-m", "services", "run", "gpu-coordinator"],
            cwd=ROOT, env=self.environment | {"GPU_COORDINATOR_PORT": str(port)}, stdout=log, stderr=log,
        )  # fmt: skip

    def borrow(self, other: GpuHouse) -> None:
        """Speak with the other's keys."""
        self._identity = other._identity

    def as_service(self, name: str) -> httpx.Client:
        """The coordinator as that service has it."""
        identity = ServiceIdentity.from_settings(name, ServiceSettings(data_dir=self.folder))
        return httpx.Client(base_url=self.url("gpu-coordinator"), auth=Caller(identity, "gpu-coordinator", None))

    def submit(self, parts: int = 10, seconds: float = 0.05, key: str | None = None) -> str:
        body = {"kind": "speech", "payload": {"parts": parts, "seconds": seconds}, "idempotency_key": key}
        with self.as_gateway("gpu-coordinator") as client:
            answer = client.post("/queue/task", json=body)
            assert answer.status_code in (200, 201), answer.text
            return str(answer.json()["task_id"])

    def task(self, task_id: str) -> dict[str, Any]:
        row = self.sql("SELECT * FROM task WHERE task_id = $1", task_id)[0]
        return dict(row) | {"result": json.loads(row["result"]) if row["result"] else None}

    def finished(self, task_id: str, most_s: float = 120) -> dict[str, Any]:
        return until(
            lambda: found if (found := self.task(task_id))["state"] in ("succeeded", "failed", "dead") else None, most_s
        )

    def status(self) -> dict[str, Any]:
        with self.as_gateway("gpu-coordinator") as client:
            return dict(client.get("/gpu/status").json())

    def row(self, name: str) -> dict[str, Any]:
        return dict(self.sql("SELECT * FROM holder WHERE holder_id = $1", name)[0])

    def is_state(self, name: str, *states: str, most_s: float = 60) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            found = self.sql("SELECT * FROM holder WHERE holder_id = $1", name)
            return dict(found[0]) if found and found[0]["observed"] in states else None

        return until(look, most_s)

    def swaps(self, what: str = "park") -> int:
        return int(self.sql("SELECT count(*) AS n FROM swap_log WHERE what = $1", what)[0]["n"])

    def stop(self) -> None:
        for each in self.holders:
            each.stop()
        super().stop()


def until(look: Callable[[], Any], most_s: float = 60) -> Any:
    deadline = time.monotonic() + most_s
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {most_s} s"
        time.sleep(0.05)
    return found


def whole(parts: int) -> str:
    """What the uninterrupted task gives."""
    return "; ".join(f"part {part}: {(part * 2654435761) % 2**32:08x}" for part in range(parts))


def tokens(count: int) -> str:
    return "".join(f"t{each} " for each in range(count))
