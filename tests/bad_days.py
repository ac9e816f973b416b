"""A platform that parts are taken from: dead and kept dead, or frozen; and what callers are told meanwhile."""

from __future__ import annotations

import io
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import soundfile

from tests.conftest import AUDIO, Platform

ANSWER_S = 60.0
"""What a client waits to be refused: who is gone is told at once, who hangs after 30 s, and machines are busy."""
PATIENCE_S = 170.0
"""What it waits for work to be done."""
TOLD = {"upstream_unavailable", "storage_failed", "busy", "deadline_exceeded", "model_not_ready", "disk_full"}


def speech(seconds: int = 3) -> bytes:
    sound, rate_hz = soundfile.read(AUDIO / "jfk.flac")
    into = io.BytesIO()
    soundfile.write(into, sound[: seconds * rate_hz], rate_hz, format="WAV")
    return into.getvalue()


def descendants(pid: int) -> list[int]:
    children = [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [pid, *(below for child in children for below in descendants(child))]


def process_of(platform: Platform, name: str) -> int:
    """The one of a service, of `postgres` or of `redis`."""
    for pid in platform.children():
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        programs = {"postgres": b"/postgres", "redis": b"/valkey-server"}  # the latter adds its address to its name
        if name in programs and command[0].split(b" ")[0].endswith(programs[name]):
            return pid
        if b"run" in command and command[command.index(b"run") + 1] == name.encode():
            return pid
    raise AssertionError(f"{name} is not running")


@contextmanager
def dead(platform: Platform, name: str) -> Iterator[None]:
    """Gone, and not started again until the end: whoever would is stopped."""
    assert platform.pid is not None
    family = descendants(process_of(platform, name))
    os.kill(platform.pid, signal.SIGSTOP)
    try:
        for pid in family:
            os.kill(pid, signal.SIGKILL)
        yield
    finally:
        os.kill(platform.pid, signal.SIGCONT)


@contextmanager
def frozen(platform: Platform, name: str) -> Iterator[None]:
    """Its sockets are open, and nobody answers."""
    family = descendants(process_of(platform, name))
    for pid in family:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in family:
            os.kill(pid, signal.SIGCONT)


class Caller:
    """One user; keeps what was acknowledged."""

    def __init__(self, platform: Platform, name: str) -> None:
        self._platform, self._name = platform, name
        self.client = platform.client(name)
        self.client.timeout = httpx.Timeout(PATIENCE_S)
        self.memories: list[tuple[str, str]] = []
        self.recordings: list[str] = []
        self._clip, self._count = speech(), 0
        self.calls: dict[str, Callable[[], httpx.Response]] = {
            "remember": self.remember,
            "upload": self.upload,
            "recent": lambda: self.client.get("/transcription/recent"),
            "search": lambda: self.client.post("/rag/search", json={"query": "shelf"}),
            "feel": lambda: self.client.post("/emotion/analyze", json={"text": "What a lovely surprise!"}),
            "chat": lambda: self.client.post("/gemma/chat", json={"message": "What is on shelf 1?", "max_tokens": 1}),
            "say": lambda: self.client.post("/v1/audio/speech", json={"model": "piper", "input": "Hello."}),
            "queue": lambda: self.client.get("/gpu/status"),
            "sign in": self.sign_in,
        }

    def remember(self) -> httpx.Response:
        self._count += 1
        content = f"Shelf {self._count} of the cellar holds jar {self._count}."
        answer = self.client.post("/rag/memory", json={"content": content})
        if answer.is_success:
            self.memories.append((answer.json()["memory_id"], content))
        return answer

    def upload(self) -> httpx.Response:
        self._count += 1
        file = {"file": (f"clip {self._count}.wav", self._clip)}
        answer = self.client.post("/transcription/upload", files=file, params={"wait_s": 0})
        if answer.is_success:
            self.recordings.append(answer.json()["transcript_id"])
        return answer

    def sign_in(self) -> httpx.Response:
        body = {"username": self._name, "password": "a long enough pass phrase"}
        return self.client.post("/auth/login", json=body)

    def all_well(self, kinds: Iterable[str]) -> bool:
        return all(self.calls[kind]().is_success for kind in ("remember", "upload", *kinds))

    def refused(self, kinds: Iterable[str]) -> dict[str, httpx.Response]:
        """Each has to be refused, and soon: a client that waits for nothing fails the test."""
        self.client.timeout = httpx.Timeout(ANSWER_S)
        try:
            found = {kind: self.calls[kind]() for kind in kinds}
        finally:
            self.client.timeout = httpx.Timeout(PATIENCE_S)
        for answer in found.values():
            refusal(answer)
        return found

    def require_all_kept(self) -> None:
        for memory_id, content in self.memories:
            assert self.client.get(f"/rag/memory/{memory_id}").raise_for_status().json()["content"] == content
        for name in self.recordings:
            poll(lambda name=name: self._completed(name))  # type: ignore[misc]
            assert self.client.get(f"/transcription/{name}/audio").raise_for_status().content == self._clip
        listed = [each["transcript_id"] for each in self.client.get("/transcription/recent").json()["data"]]
        assert sorted(listed) == sorted(self.recordings)  # and nothing that was refused

    def _completed(self, name: str) -> bool:
        answer = self.client.get(f"/transcription/{name}")
        return answer.is_success and answer.json()["status"] == "completed"


def refusal(answer: httpx.Response) -> str:
    """The code, of an answer that says what, why, and when to come again."""
    assert answer.headers["content-type"].startswith(("application/problem+json", "application/json"))
    body: dict[str, Any] = answer.json()
    told = body.get("error", body)  # the paths of OpenAI's API have an envelope of their own
    assert answer.status_code in (502, 503, 504, 507), answer.text
    assert told["code"] in TOLD, answer.text
    assert int(answer.headers["retry-after"]) >= 1, answer.text
    assert "Traceback" not in answer.text
    return str(told["code"])


def poll(ask: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            if found := ask():
                return found
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError("it did not come about")
