"""The services behind a recording, each a process of its own as in production, over real PostgreSQL and Redis."""

from __future__ import annotations

import asyncio
import io
import os
import secrets
import signal
import subprocess
import sys
import time
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import numpy as np
import pytest

from shared.auth.principal import Principal
from shared.auth.service_tokens import ServiceIdentity, generate_key
from shared.schemas.ids import new_id
from shared.settings import SERVICE_PORTS, ServiceSettings
from tests.conftest import AUDIO, ROOT, free_ports

SERVICES = ("gpu-coordinator", "rag", "emotion", "transcription")
PATIENCE_S = 300


class Caller(httpx.Auth):
    """The gateway, on behalf of one user."""

    def __init__(self, identity: ServiceIdentity, callee: str, user_id: str | None) -> None:
        self._identity, self._callee = identity, callee
        self._user = Principal(user_id, "user") if user_id else None

    def auth_flow(self, request: httpx.Request) -> Iterator[httpx.Request]:  # type: ignore[override]
        request.headers["Authorization"] = f"Bearer {self._identity.token_for(self._callee, self._user)}"
        yield request


def wav(samples: np.ndarray, rate_hz: int = 16_000) -> bytes:
    """int16 [n] or [n, channels]."""
    into = io.BytesIO()
    with wave.open(into, "wb") as file:
        file.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(np.ascontiguousarray(samples, dtype="<i2").tobytes())
    return into.getvalue()


def spoken() -> np.ndarray:
    with wave.open(str(SENSE)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")


class House:
    """Processes that can be killed and started again one by one."""

    services: tuple[str, ...] = SERVICES

    def __init__(self, folder: Path, database_url: str, redis_url: str, **extra: str) -> None:
        self.folder = folder
        first = free_ports(len(self.services))
        self.ports = {name: first + at for at, name in enumerate(self.services)}
        for name in SERVICE_PORTS:
            generate_key(folder / "secrets" / "service_keys", name)
        self.environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            "DATA_DIR": str(folder),
            "MODELS_DIR": str(ROOT / "models"),
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "RAG_DB_KEY": secrets.token_urlsafe(48),
            "GPU_COORDINATOR_LEASE_S": "4",
            "GPU_COORDINATOR_SWEEP_S": "0.5",
            "GPU_COORDINATOR_RETRY_BASE_S": "0.5",
            "TRANSCRIPTION_CHUNK_S": "20",
            **{f"{name.upper().replace('-', '_')}_PORT": str(port) for name, port in self.ports.items()},
            **{f"{name.upper().replace('-', '_')}_URL": self.url(name) for name in self.services},
            **extra,
        }
        settings = ServiceSettings(data_dir=folder)
        self._identity = ServiceIdentity.from_settings("api-gateway", settings)
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def identity(self) -> ServiceIdentity:
        """The gateway's."""
        return self._identity

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.ports[name]}"

    def start(self, *names: str) -> None:
        for name in names or self.services:
            with (self.folder / f"{name}.log").open("ab") as log:
                self._running[name] = subprocess.Popen(
                    [sys.executable, "-m", "services", "run", name],
                    cwd=ROOT,
                    env=self.environment,
                    stdout=log,
                    stderr=log,
                )
        for name in names or self.services:
            self.wait_ready(name)

    def wait_ready(self, name: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            assert self._running[name].poll() is None, self.log(name)
            try:
                if httpx.get(f"{self.url(name)}/ready", timeout=3).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.1)
        raise AssertionError(self.log(name))

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def kill(self, name: str, how: signal.Signals = signal.SIGKILL) -> None:
        self._running[name].send_signal(how)
        self._running[name].wait(20)

    def freeze(self, name: str) -> None:
        self._running[name].send_signal(signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        self._running[name].send_signal(signal.SIGCONT)

    def stop(self) -> None:
        for process in self._running.values():
            process.terminate()
        for process in self._running.values():
            process.wait(20)

    def client(self, user_id: str | None = None, service: str = "transcription") -> httpx.Client:
        """A client of one service as the gateway has it, for a (new) user."""
        user_id = user_id or new_id("usr")
        return httpx.Client(
            base_url=self.url(service), auth=Caller(self._identity, service, user_id), timeout=PATIENCE_S
        )

    def as_gateway(self, service: str = "transcription") -> httpx.Client:
        """For no user."""
        return httpx.Client(base_url=self.url(service), auth=Caller(self._identity, service, None), timeout=PATIENCE_S)

    def sql(self, query: str, *values: Any) -> list[Any]:
        async def ask() -> list[Any]:
            connection = await asyncpg.connect(self.environment["DATABASE_URL"])
            try:
                return await connection.fetch(query, *values)
            finally:
                await connection.close()

        return asyncio.run(ask())

    def headers(self, user_id: str, service: str = "transcription") -> dict[str, str]:
        """Of one call for a user, where no httpx client makes it."""
        return {"Authorization": f"Bearer {self._identity.token_for(service, Principal(user_id, 'user'))}"}


def database(server_url: str) -> str:
    """A fresh one, for a whole module."""
    name = f"test_{secrets.token_hex(6)}"

    async def make() -> None:
        connection = await asyncpg.connect(server_url)
        await connection.execute(f"CREATE DATABASE {name}")
        await connection.close()

    asyncio.run(make())
    return server_url.rsplit("/", 1)[0] + f"/{name}"


@pytest.fixture(scope="module")
def house(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: str, redis_url: str, models_dir: Path
) -> Iterator[House]:
    running = House(tmp_path_factory.mktemp("house"), database(postgres_server), redis_url)
    running.start()
    yield running
    running.stop()


def upload(
    client: httpx.Client, data: bytes | Path, wait_s: float = 200, name: str = "a.wav", **fields: str
) -> httpx.Response:
    body = data.read_bytes() if isinstance(data, Path) else data
    files = {"file": (data.name if isinstance(data, Path) else name, body, "application/octet-stream")}
    return client.post("/transcription/upload", files=files, data=fields, params={"wait_s": wait_s})


def finished(client: httpx.Client, transcript_id: str, most_s: float = 200) -> dict[str, Any]:
    """The transcript once it is in a last state."""
    deadline = time.monotonic() + most_s
    while time.monotonic() < deadline:
        found: dict[str, Any] = client.get(f"/transcription/{transcript_id}").json()
        if found["status"] in ("completed", "failed", "cancelled"):
            return found
        time.sleep(0.2)
    raise AssertionError(found)


JFK = AUDIO / "jfk.flac"
SENSE = AUDIO / "librivox-sas-0870.wav"
