"""Real PostgreSQL, Redis and the whole platform, each started once a session and only when a test asks for it."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
import websockets.sync.client
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent
AUDIO = ROOT / "tests" / "fixtures" / "audio"
sys.path.insert(0, str(ROOT))

settings.register_profile(
    "nemo",
    deadline=None,
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("nemo")

from services.cli.embedded import EmbeddedPostgres, EmbeddedRedis  # noqa: E402


def _apart(work: Any) -> Any:
    """Run a coroutine function in a loop and thread of its own: fixtures may be asked for inside a running loop."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(work())).result()


def _started(server: Any) -> Iterator[str]:
    _apart(server.prepare)
    child = server.child()
    process = subprocess.Popen(child.command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 120
        while not _apart(child.ready):
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.05)
        yield server.url
    finally:
        process.send_signal(child.stop_signal)
        process.wait(15)


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    yield from _started(EmbeddedPostgres(tmp_path_factory.mktemp("postgres"), secrets.token_urlsafe(16)))


@pytest.fixture
async def postgres_url(postgres_server: str) -> AsyncIterator[str]:
    """An empty database of the test's own."""
    name = f"test_{secrets.token_hex(6)}"
    admin = await asyncpg.connect(postgres_server)
    await admin.execute(f"CREATE DATABASE {name}")
    yield postgres_server.rsplit("/", 1)[0] + f"/{name}"
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    yield from _started(EmbeddedRedis(tmp_path_factory.mktemp("valkey"), secrets.token_urlsafe(16)))


@pytest.fixture(scope="session")
def models_dir() -> Path:
    """The weights of the checkout; `make test` has pulled them."""
    folder = ROOT / "models"
    assert (folder / "all-minilm-l6-v2" / "model.onnx").is_file(), "run `make test`, which pulls the models first"
    return folder


def nemo(data_dir: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """A command as the operator types it; `more` goes into its environment."""
    return subprocess.run(
        [sys.executable, "-m", "services", *arguments], cwd=ROOT, env=os.environ | {"DATA_DIR": str(data_dir)} | more,
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def alive(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def free_ports(count: int) -> int:
    """The first of `count` free ports in a row; each process that tests has a range of its own, below `embedded.free_port`'s."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 4
    for _ in range(100):
        first = 20_000 + 1_500 * worker + secrets.randbelow(1_500 - count)
        held = []
        try:
            held.extend(socket.create_server(("127.0.0.1", port)) for port in range(first, first + count))
        except OSError:
            continue
        finally:
            for each in held:
                each.close()
        return first
    raise AssertionError("no free ports")


connect = partial(websockets.sync.client.connect, open_timeout=60, ping_timeout=120)
"""A WebSocket, with the patience that a busy machine needs."""


class Platform:
    """`nemo up` as a user starts it, in a folder with a space in its name."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.port = free_ports(12)
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = data_dir.parent / "up.log"
        self.more: dict[str, str] = {}
        """Settings beside those of tests, or in their place."""
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    def start(self, wait_s: float = 600, status: str = "ok") -> None:
        environment = (
            os.environ
            | {
                "DATA_DIR": str(self.data_dir),
                "API_GATEWAY_REQUESTS_PER_MINUTE": "100000",
                "API_GATEWAY_SIGN_INS_PER_MINUTE": "10000",
                "API_GATEWAY_BCRYPT_ROUNDS": "4",
                "API_GATEWAY_VAULT_MEMORY_KIB": "1024",
            }
            | self.more
        )
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "services", "up", "--port", str(self.port)],
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=log,
            )
        self.wait_ready(wait_s, status)

    def wait_ready(self, wait_s: float = 600, status: str = "ok") -> None:
        deadline = time.monotonic() + wait_s
        while time.monotonic() < deadline:
            assert self._process is not None and self._process.poll() is None, self.log.read_text()
            try:
                found = httpx.get(f"{self.url}/ready", timeout=3).json()
                if found["status"] == status and "down" not in found["services"].values():
                    return
            except (httpx.HTTPError, ValueError):
                pass
            time.sleep(0.2)
        raise AssertionError(self.log.read_text())

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)  # a shell that runs us in the background ignores SIGINT
            self._process.wait(40)

    def kill_service(self, name: str) -> None:
        """SIGKILL to one service's process."""
        assert self._process is not None
        for pid in self.children():
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if command[-2:-1] == [name.encode()]:
                os.kill(pid, signal.SIGKILL)
                return
        raise AssertionError(f"{name} is not running")

    def children(self) -> list[int]:
        assert self._process is not None
        found = []
        for each in Path("/proc").iterdir():
            try:
                if each.name.isdigit() and f"\nPPid:\t{self._process.pid}\n" in (each / "status").read_text():
                    found.append(int(each.name))
            except OSError:
                continue
        return found

    def client(self, username: str | None = None) -> httpx.Client:
        """A client signed in as a (new) user."""
        headers = {}
        if username is not None:
            body = {"username": username, "password": "a long enough pass phrase"}
            httpx.post(f"{self.url}/auth/register", json=body, timeout=120)
            answer = httpx.post(f"{self.url}/auth/login", json=body, timeout=120).raise_for_status()
            headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        return httpx.Client(base_url=self.url, timeout=300, headers=headers)


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> Iterator[Platform]:
    running = Platform(tmp_path_factory.mktemp("plat form") / "data")
    try:
        running.start()
        running.client("first-admin").close()
        yield running
    finally:
        running.stop()
    shutil.rmtree(running.data_dir, ignore_errors=True)
