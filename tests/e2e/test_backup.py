"""The restore drill: a backup of the running platform under load, everything lost, restored, and compared."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import AUDIO, ROOT, Platform

PASSWORD = "a long enough pass phrase"
MARK = "The spare key lies under the blue flowerpot by the garden gate"


def nemo(house: Platform, *arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "services", *arguments],
        cwd=ROOT, env=os.environ | {"DATA_DIR": str(house.data_dir)}, input=typed, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=170, check=False,
    )  # fmt: skip


class Patient(Platform):
    """Started three times on a machine that may be busy; no model is needed to keep, to play and to search."""

    def start(self) -> None:
        self._told = self.log.stat().st_size if self.log.exists() else 0
        super().start()

    def wait_ready(self, wait_s: float = 400, status: str = "ok") -> None:
        deadline = time.monotonic() + wait_s
        while time.monotonic() < deadline:
            assert self._process is not None and self._process.poll() is None, self.log.read_text()
            if b"all services are up" in self.log.read_bytes()[self._told :]:
                return
            time.sleep(0.5)
        raise AssertionError(self.log.read_text())


@pytest.fixture
def house(tmp_path: Path, models_dir: Path) -> Iterator[Platform]:
    running = Patient(tmp_path / "data")
    running.start()
    yield running
    running.stop()


class Writer(threading.Thread):
    """Remembers one thing after another until told to stop; knows which were acknowledged."""

    def __init__(self, client: httpx.Client, name: str) -> None:
        super().__init__(daemon=True)
        self._client, self._name, self._ended = client, name, threading.Event()
        self.acknowledged: list[str] = []
        self.failures: list[str] = []

    def run(self) -> None:
        number = 0
        while not self._ended.is_set():
            number += 1
            body = {"content": f"{self._name} wrote entry number {number}"}
            answer = self._client.post("/rag/memory", json=body)
            if answer.status_code == 201:
                self.acknowledged.append(answer.json()["memory_id"])
            else:
                self.failures.append(answer.text)

    def end(self) -> None:
        self._ended.set()
        self.join(60)


def memories(client: httpx.Client) -> dict[str, str]:
    found, cursor = {}, None
    while True:
        page = client.get("/rag/memories", params={"limit": 200} | ({"cursor": cursor} if cursor else {}))
        listed = page.raise_for_status().json()
        found |= {each["memory_id"]: each["content"] for each in listed["data"]}
        cursor = listed.get("next_cursor")
        if not cursor:
            return found


def sign_in(house: Platform, name: str) -> httpx.Client:
    answer = httpx.post(f"{house.url}/auth/login", json={"username": name, "password": PASSWORD}, timeout=60)
    access = answer.raise_for_status().json()["access_token"]
    return httpx.Client(base_url=house.url, timeout=120, headers={"Authorization": f"Bearer {access}"})


def remember(client: httpx.Client, text: str) -> str:
    return str(client.post("/rag/memory", json={"content": text}).raise_for_status().json()["memory_id"])


def code_of(said: str) -> str:
    return next(line.strip() for line in said.splitlines() if line.count("-") == 7)


@pytest.mark.timeout(1200)
def test_backup_under_load_then_everything_is_lost_and_comes_back(house: Platform, tmp_path: Path) -> None:
    refused = nemo(house, "backup")
    assert refused.returncode == 1 and "nemo backup --init" in refused.stdout
    code = code_of(nemo(house, "backup", "--init").stdout)
    anna, ben = house.client("anna"), house.client("ben")
    with (AUDIO / "jfk.flac").open("rb") as file:
        heard = anna.post("/transcription/upload", files={"file": ("jfk.flac", file)}, params={"wait_s": 5}).json()
    sound = anna.get(f"/transcription/{heard['transcript_id']}/audio").raise_for_status().content
    remember(anna, MARK)
    secret = remember(ben, "Ben keeps his savings in the piano")
    ben.post("/vault/seal", json={"password": PASSWORD}).raise_for_status()
    doomed = remember(anna, "This will be deleted after the backup")

    writers = [Writer(anna, "anna"), Writer(ben, "ben")]
    for each in writers:
        each.start()
    while not all(len(each.acknowledged) >= 3 for each in writers):
        assert all(each.is_alive() for each in writers)
    before = [list(each.acknowledged) for each in writers]
    store = tmp_path / "store"
    made = nemo(house, "backup", "--to", str(store), "--keep", "2")
    assert made.returncode == 0, made.stdout
    counts = [len(each.acknowledged) for each in writers]
    for each in writers:
        each.end()
    assert not any(each.failures for each in writers) and all(
        now > len(then) for now, then in zip(counts, before, strict=True)
    )
    (archive,) = store.glob("*.nemo")
    assert MARK.encode() not in archive.read_bytes() and archive.stat().st_mode & 0o077 == 0
    assert "100 %" in made.stdout and code not in made.stdout

    assert "is whole" in nemo(house, "backup", "--verify", str(archive), typed=code).stdout
    drilled = nemo(house, "backup", "--drill", typed=code)
    assert drilled.returncode == 0 and "1 sealed" in drilled.stdout, drilled.stdout
    known = json.loads((house.data_dir / "backups.json").read_text())
    assert known["drilled"]["rows"]["memory"] >= 5 and known["drilled"]["sealed"] == 1
    assert nemo(house, "upgrade-check").returncode == 0
    anna.delete(f"/rag/memory/{doomed}").raise_for_status()

    house.stop()
    untouched = digests(house.data_dir)
    for damaged in damages(archive, tmp_path):
        said = nemo(house, "restore", str(damaged), "--replace", typed=code)
        assert said.returncode == 1 and "!!" in said.stdout and "Traceback" not in said.stdout, said.stdout
    wrong = nemo(house, "restore", str(archive), "--replace", typed="-".join(["ABCD"] * 8))
    assert wrong.returncode == 1 and "another recovery code" in wrong.stdout
    assert "--replace" in nemo(house, "restore", str(archive), typed=code).stdout
    assert digests(house.data_dir) == untouched

    # Another machine: nothing is there but the archive and the code.
    kept = house.data_dir.rename(tmp_path / "kept")
    assert nemo(house, "restore", str(archive), typed=code).returncode == 0
    house.start()
    compare(house, before, heard, sound, secret)
    second = nemo(house, "backup", "--to", str(store), "--keep", "2")  # the same code goes on
    assert second.returncode == 0 and len(list(store.glob("*.nemo"))) == 2, second.stdout
    house.stop()

    # The same folder: what was deleted since does not come back.
    shutil.rmtree(house.data_dir)
    kept.rename(house.data_dir)
    again = nemo(house, "restore", str(archive), "--replace", typed=code)
    assert again.returncode == 0, again.stdout
    house.start()
    compare(house, before, heard, sound, secret)
    with sign_in(house, "anna") as client:
        assert doomed not in memories(client)
        assert client.get(f"/rag/memory/{doomed}").status_code == 404
    assert len(list(tmp_path.glob("data.before-restore-*"))) == 1


def compare(house: Platform, before: list[list[str]], heard: dict[str, Any], sound: bytes, secret: str) -> None:
    """Everything that was acknowledged before the backup began."""
    with sign_in(house, "anna") as anna:
        found = memories(anna)
        assert set(before[0]) <= set(found)
        played = anna.get(f"/transcription/{heard['transcript_id']}/audio").raise_for_status().content
        assert hashlib.sha256(played).digest() == hashlib.sha256(sound).digest()
        now = anna.get(f"/transcription/{heard['transcript_id']}").raise_for_status().json()
        assert heard["status"] != "completed" or now["segments"] == heard["segments"]
        hits = anna.post("/rag/search", json={"query": "where is the spare key", "top_k": 3}).raise_for_status().json()
        assert MARK in [hit["content"] for hit in hits]
    answer = httpx.post(f"{house.url}/auth/login", json={"username": "ben", "password": PASSWORD}, timeout=60)
    access = {"Authorization": f"Bearer {answer.raise_for_status().json()['access_token']}"}
    with httpx.Client(base_url=house.url, timeout=120, headers=access) as ben:  # signing in unlocks a sealed vault
        assert {secret, *before[1]} <= set(memories(ben))
        ben.post("/vault/lock").raise_for_status()
        assert ben.get("/rag/memories").status_code == 423


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "nemo.pid"
    }


def damages(archive: Path, folder: Path) -> Iterator[Path]:
    whole = archive.read_bytes()
    cases: dict[str, Any] = {
        "flipped in the middle": whole[: len(whole) // 2]
        + bytes([whole[len(whole) // 2] ^ 1])
        + whole[len(whole) // 2 + 1 :],
        "cut": whole[:-1],
        "cut at a frame": whole[: 118 + (1 << 20) + 16],
        "longer": whole + b"\0",
        "empty": b"",
        "another file": b"PK\3\4" + whole,
    }
    for name, data in cases.items():
        path = folder / f"{name}.nemo"
        path.write_bytes(data)
        yield path
