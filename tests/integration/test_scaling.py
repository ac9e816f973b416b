"""Two gateways and two memory services on one set of stores, nginx before them: docs/scaling.md says what this shows."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import asyncpg
import httpx
import pytest
from websockets.exceptions import InvalidStatus

from services.cli import keys
from tests.conftest import ROOT, connect, free_ports
from tests.gateway_house import PASSWORD
from tests.nginx_house import ABSENT, NGINX, Nginx

WORDS = (
    "lamp",
    "kettle",
    "ladder",
    "compass",
    "violin",
    "anchor",
    "saddle",
    "lantern",
    "basket",
    "hammer",
    "candle",
    "mirror",
)


class Pair:
    """`nemo run` twice for each service; gateway N speaks with memory service N, so that a test knows who answers."""

    def __init__(self, folder: Path, postgres_url: str, redis_url: str) -> None:
        self.folder = folder
        self._stores = {"DATABASE_URL": postgres_url, "REDIS_URL": redis_url}
        port = free_ports(4)
        self._ports = {
            ("api-gateway", 0): port,
            ("api-gateway", 1): port + 1,
            ("rag", 0): port + 2,
            ("rag", 1): port + 3,
        }
        self._running: dict[tuple[str, int], subprocess.Popen[bytes]] = {}
        keys.ensure(folder / "secrets", folder)

    def address(self, number: int, service: str = "api-gateway") -> str:
        return f"127.0.0.1:{self._ports[service, number]}"

    def run(self, service: str, number: int) -> None:
        prefix = service.upper().replace("-", "_")
        told = {
            f"{prefix}_PORT": str(self._ports[service, number]),
            "DATA_DIR": str(self.folder),
            "RAG_URL": f"http://{self.address(number, 'rag')}",
            "RAG_INDEX": "pgvector",
            "REGISTRATION": "open",
            "TRUSTED_PROXIES": "127.0.0.1",
            "API_GATEWAY_BCRYPT_ROUNDS": "4",
            "API_GATEWAY_VAULT_MEMORY_KIB": "1024",
            "API_GATEWAY_REQUESTS_PER_MINUTE": "400",
            "API_GATEWAY_SIGN_INS_PER_MINUTE": "1000",
        }
        command = [sys.executable, "-m", "services", "run", service]
        environment = os.environ | self._stores | keys.of_service(service, self.folder / "secrets") | told
        with (self.folder / f"{service}-{number}.log").open("ab") as log:
            child = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        self._running[service, number] = child

    def wait(self) -> None:
        deadline = time.monotonic() + 240
        for (service, number), child in self._running.items():
            while True:
                assert child.poll() is None, (self.folder / f"{service}-{number}.log").read_text()
                assert time.monotonic() < deadline, f"{service} {number} did not start"
                try:
                    if httpx.get(f"http://{self.address(number, service)}/live", timeout=5).status_code == 200:
                        break
                except httpx.HTTPError:
                    time.sleep(0.2)

    def kill(self, service: str, number: int) -> None:
        self._running[service, number].kill()
        self._running.pop((service, number)).wait()

    def stop(self) -> None:
        for child in self._running.values():
            child.send_signal(signal.SIGTERM)
        for child in self._running.values():
            child.wait(40)


@pytest.fixture(scope="module")
def pair(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: str, redis_url: str, models_dir: Path
) -> Iterator[Pair]:
    del models_dir

    async def make() -> None:
        admin = await asyncpg.connect(postgres_server)
        await admin.execute("CREATE DATABASE scaling")
        await admin.close()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: asyncio.run(make())).result()
    running = Pair(tmp_path_factory.mktemp("pair"), postgres_server.rsplit("/", 1)[0] + "/scaling", redis_url)
    with ExitStack() as stack:
        stack.callback(running.stop)
        for service in ("rag", "api-gateway"):
            for number in (0, 1):
                running.run(service, number)
        running.wait()
        join(running, "anna")  # the first, and so the admin
        yield running


@pytest.fixture(scope="module")
def joined(pair: Pair) -> dict[str, str]:
    """The headers of an admin who signed in at the first gateway."""
    return sign_in(pair, "anna", 0)


def join(pair: Pair, name: str, at: int = 0) -> dict[str, str]:
    body = {"username": name, "password": PASSWORD}
    url = f"http://{pair.address(at)}"
    assert httpx.post(f"{url}/auth/register", json=body, timeout=60).status_code == 201
    return sign_in(pair, name, at)


def sign_in(pair: Pair, name: str, at: int) -> dict[str, str]:
    body = {"username": name, "password": PASSWORD}
    answer = httpx.post(f"http://{pair.address(at)}/auth/login", json=body, timeout=60).raise_for_status()
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


def through(pair: Pair, number: int, headers: dict[str, str]) -> httpx.Client:
    return httpx.Client(base_url=f"http://{pair.address(number)}", headers=headers, timeout=60)


def found(http: httpx.Client, query: str, mode: str = "vector") -> list[str]:
    answer = http.post("/rag/search", json={"query": query, "mode": mode, "top_k": 5})
    assert answer.status_code == 200, answer.text
    return [each["metadata"]["memory_id"] for each in answer.json()]


def test_a_session_is_good_at_both_until_it_ends_at_either(pair: Pair) -> None:
    ben = join(pair, "ben")
    with through(pair, 0, ben) as first, through(pair, 1, ben) as second:
        assert first.get("/auth/me").json() == second.get("/auth/me").json()
        assert second.post("/auth/logout").status_code == 204
        assert [first.get("/auth/me").status_code, second.get("/auth/me").status_code] == [401, 401]


def test_what_one_takes_the_other_finds_at_once(pair: Pair, joined: dict[str, str]) -> None:
    """Both have the vault open before, so neither reads it anew."""
    with through(pair, 0, joined) as first, through(pair, 1, joined) as second:
        assert found(first, "anything") == found(second, "anything") == []
        for number, word in enumerate(WORDS):
            writer, reader = (first, second) if number % 2 else (second, first)
            made = writer.post("/rag/memory", json={"content": f"The {word} is on shelf number {number}."})
            assert made.status_code == 201, made.text
            memory = made.json()["memory_id"]
            assert found(reader, f"Where is the {word}?")[0] == memory
            assert memory in found(reader, word, "text")
            assert reader.get(f"/rag/memory/{memory}").json()["content"].startswith(f"The {word}")


def test_what_one_deletes_the_other_never_shows_again(pair: Pair, joined: dict[str, str]) -> None:
    with through(pair, 0, joined) as first, through(pair, 1, joined) as second:
        memory = first.post("/rag/memory", json={"content": "The dentist's number is 555 0100."}).json()["memory_id"]
        assert found(second, "What is the dentist's number?")[0] == memory
        assert first.delete(f"/rag/memory/{memory}").status_code == 204
        for mode in ("vector", "text", "hybrid"):
            assert memory not in found(second, "What is the dentist's number?", mode)
        assert second.get(f"/rag/memory/{memory}").status_code == 404


def test_writes_at_both_at_once_are_all_kept_once(pair: Pair) -> None:
    """Of a vault that is there: two that make the same file in the same moment can be told 503 (docs/scaling.md)."""
    carl = join(pair, "carl")

    def write(number: int) -> str:
        with through(pair, number % 2, carl) as http:
            answer = http.post("/rag/memory", json={"content": f"Note {number} of many, on {WORDS[number % 12]}s."})
            assert answer.status_code == 201, answer.text
            return str(answer.json()["memory_id"])

    with ThreadPoolExecutor(8) as pool:
        written = [write(0), *pool.map(write, range(1, 40))]
    for number in (0, 1):
        with through(pair, number, carl) as http:
            listed = [each["memory_id"] for each in http.get("/rag/memories?limit=200").json()["data"]]
            assert sorted(listed) == sorted(written)


def test_a_repeated_request_is_answered_as_before_by_the_other(pair: Pair, joined: dict[str, str]) -> None:
    key = joined | {"Idempotency-Key": "one-and-the-same"}
    body = {"content": "The bicycle is in the cellar."}
    with through(pair, 0, key) as first, through(pair, 1, key) as second:
        answers = [http.post("/rag/memory", json=body) for http in (first, second)]
        assert answers[0].json() == answers[1].json()
        assert second.get("/rag/memories?limit=200").text.count("The bicycle is in the cellar.") == 1


def test_a_limit_is_one_over_both(pair: Pair) -> None:
    dora = join(pair, "dora")
    with through(pair, 0, dora) as first, through(pair, 1, dora) as second:
        left = [http.get("/auth/me").headers["ratelimit"] for http in (first, second, first)]
    counts = [int(each.partition("r=")[2].partition(";")[0]) for each in left]
    assert counts[0] > counts[1] > counts[2]


def test_the_audit_log_stays_whole_though_both_write_it(pair: Pair, joined: dict[str, str]) -> None:
    join(pair, "emil")
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda number: sign_in(pair, "emil", number % 2), range(12)))
    listed = httpx.get(f"http://{pair.address(1)}/admin/audit", headers=joined, timeout=60)
    assert listed.json()["data"] and listed.json()["first_broken"] is None


def test_a_ticket_of_one_is_good_once_at_either(pair: Pair, joined: dict[str, str]) -> None:
    with through(pair, 0, joined) as first:
        ticket = first.post("/auth/ticket").json()["ticket"]
    statuses = []
    for number in (1, 0):
        with pytest.raises(InvalidStatus) as refused:  # nobody transcribes here, so nobody is let through to it
            connect(f"ws://{pair.address(number)}/transcription/stream?ticket={ticket}")
        statuses.append(refused.value.response.status_code)
    assert statuses[0] in (502, 503) and statuses[1] == 401


@pytest.mark.skipif(NGINX is None, reason=ABSENT)
def test_one_dies_and_no_reading_request_fails(pair: Pair, tmp_path: Path) -> None:
    """nginx asks the other one; what writes is told, and its client tries again with its key."""
    fred = join(pair, "fred")
    nginx = Nginx(tmp_path / "prefix", [pair.address(0), pair.address(1)])
    nginx.start()
    answers: list[int] = []
    with httpx.Client(base_url=nginx.url, verify=nginx.trust, headers=fred, timeout=60) as http:
        killing = threading.Timer(0.5, lambda: pair.kill("api-gateway", 1))
        killing.start()
        try:
            for _ in range(120):
                answers.append(http.get("/auth/me").status_code)
                time.sleep(0.02)
        finally:
            killing.join()
            pair.run("api-gateway", 1)
            pair.wait()
            nginx.stop()
    assert answers == [200] * 120


def test_a_sealed_vault_is_open_at_one_only(pair: Pair) -> None:
    """What does not hold: the unlocked key is in the memory of the one service that it was handed to."""
    gina = join(pair, "gina")
    with through(pair, 0, gina) as first, through(pair, 1, gina) as second:
        assert first.post("/rag/memory", json={"content": "The lamp is old."}).status_code == 201
        sealed = first.post("/vault/seal", json={"password": PASSWORD})
        assert sealed.is_success, sealed.text
        assert first.get("/rag/memories").status_code == 200
        assert second.get("/rag/memories").status_code == 423
