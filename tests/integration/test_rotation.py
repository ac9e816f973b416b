"""`nemo rotate jwt` under load, with two gateways: nobody notices."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from services.cli import keys
from tests.conftest import ROOT, free_ports

PASSWORD = "a long enough pass phrase"


def environment(data: Path, postgres_url: str, redis_url: str) -> dict[str, str]:
    return os.environ | {
        "DATA_DIR": str(data), "DATABASE_URL": postgres_url, "REDIS_URL": redis_url,
        "API_GATEWAY_REQUESTS_PER_MINUTE": "1000000", "API_GATEWAY_SIGN_INS_PER_MINUTE": "100000",
        "API_GATEWAY_BCRYPT_ROUNDS": "4",
    }  # fmt: skip


@pytest.fixture
def gateways(tmp_path: Path, postgres_url: str, redis_url: str) -> Iterator[list[str]]:
    keys.ensure(tmp_path / "secrets", tmp_path)
    first, running = free_ports(2), []
    try:
        for port in (first, first + 1):
            given = environment(tmp_path, postgres_url, redis_url) | {"API_GATEWAY_PORT": str(port)}
            command = [sys.executable, "-m", "services", "run", "api-gateway"]
            with (tmp_path / f"{port}.log").open("wb") as log:
                running.append(subprocess.Popen(command, cwd=ROOT, env=given, stdout=log, stderr=log))
            wait_live(f"http://127.0.0.1:{port}")
        yield [f"http://127.0.0.1:{port}" for port in (first, first + 1)]
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(30)


def wait_live(url: str) -> None:
    deadline = time.monotonic() + 120
    while True:
        try:
            if httpx.get(f"{url}/live", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            assert time.monotonic() < deadline
        time.sleep(0.2)


def sign_in(url: str, name: str) -> dict[str, str]:
    body = {"username": name, "password": PASSWORD}
    httpx.post(f"{url}/auth/register", json=body, timeout=60)
    found: dict[str, str] = httpx.post(f"{url}/auth/login", json=body, timeout=60).raise_for_status().json()
    return found


def signed_by(token: str) -> str:
    head = token.split(".")[0]
    return str(json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))["kid"])


class Load(threading.Thread):
    """Asks each gateway in turn, with an old token, a refreshed one, and a new session now and then."""

    def __init__(self, urls: list[str], name: str) -> None:
        super().__init__(daemon=True)
        self._urls, self._name, self.ended = urls, name, threading.Event()
        self._pair = sign_in(urls[0], name)
        self._first = self._pair["access_token"]
        self.answers: dict[int, int] = {}
        self.keys: set[str] = set()

    def run(self) -> None:
        with httpx.Client(timeout=60) as client:
            number = 0
            while not self.ended.is_set():
                number += 1
                url, other = self._urls[number % 2], self._urls[(number + 1) % 2]
                for token in (self._first, self._pair["access_token"]):
                    for each in (url, other):
                        self._count(client.get(f"{each}/auth/me", headers={"Authorization": f"Bearer {token}"}))
                if number % 2:
                    answer = client.post(f"{url}/auth/refresh", json={"refresh_token": self._pair["refresh_token"]})
                    self._count(answer)
                    self._pair = answer.json()
                    self.keys.add(signed_by(self._pair["access_token"]))
                if number % 10 == 0:
                    body = {"username": self._name, "password": PASSWORD}
                    self._count(client.post(f"{other}/auth/login", json=body))

    def _count(self, answer: httpx.Response) -> None:
        self.answers[answer.status_code] = self.answers.get(answer.status_code, 0) + 1


@pytest.mark.timeout(400)
def test_no_request_fails_while_the_key_is_exchanged_twice(
    gateways: list[str], tmp_path: Path, postgres_url: str, redis_url: str
) -> None:
    load = [Load(gateways, f"user-{number}") for number in range(3)]
    for each in load:
        each.start()
    used = {keys.value(tmp_path / "secrets", "jwt_secret_primary")}
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-m", "services", "rotate", "jwt"], cwd=ROOT, text=True, timeout=150, check=False,
            env=environment(tmp_path, postgres_url, redis_url), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        used.add(keys.value(tmp_path / "secrets", "jwt_secret_primary"))
        assert not any(secret in done.stdout for secret in used)
    for each in load:
        each.ended.set()
    for each in load:
        each.join(60)
        assert set(each.answers) == {200} and each.answers[200] > 20, each.answers
        assert len(each.keys) == 3  # signed by each of the three in turn
    print("requests while rotating:", sum(each.answers[200] for each in load))
    assert len(used) == 3


def test_a_key_that_is_gone_opens_nothing_any_more(
    gateways: list[str], tmp_path: Path, postgres_url: str, redis_url: str
) -> None:
    """As after a theft: both files exchanged at once, and the gateways follow."""
    token = sign_in(gateways[0], "anna")["access_token"]
    secrets = tmp_path / "secrets"
    (secrets / "jwt_secret_previous").unlink(missing_ok=True)
    keys.write(secrets / "jwt_secret_primary", "Qm8-zR4w_T1xY6vB9nK3jL7pD2sF5gH0cA" * 2)
    deadline = time.monotonic() + 60
    for url in gateways:
        while httpx.get(f"{url}/auth/me", headers={"Authorization": f"Bearer {token}"}, timeout=30).status_code != 401:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    keys.write(secrets / "jwt_secret_primary", "short")  # is not taken
    time.sleep(2)
    fresh = sign_in(gateways[0], "anna")["access_token"]
    assert (
        httpx.get(f"{gateways[1]}/auth/me", headers={"Authorization": f"Bearer {fresh}"}, timeout=30).status_code == 200
    )


def test_a_secret_of_the_environment_is_the_operators(tmp_path: Path) -> None:
    given = {
        "PATH": os.environ["PATH"],
        "DATA_DIR": str(tmp_path),
        "JWT_SECRET": "k3J9-xQ7v_R2mZ8wLp5tYb1nHc6dFg4s0AeU",
    }
    done = subprocess.run(
        [sys.executable, "-m", "services", "rotate", "jwt"],
        cwd=ROOT,
        env=given,
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1 and "JWT_SECRET_PREVIOUS" in done.stderr and "Traceback" not in done.stderr
