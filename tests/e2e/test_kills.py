"""kill -9 of any service during writes: what was acknowledged is there, readable, and once.

Writers never try again, so what was not acknowledged may be there or not, but not twice. The moments of the kills are
drawn from a seed and counted in acknowledged writes; nothing here waits for a time.
"""

from __future__ import annotations

import io
import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import soundfile

from tests.conftest import AUDIO, Platform

pytestmark = pytest.mark.timeout(900)
SEED = 20261121
KILLED = ("rag", "transcription", "gemma", "gpu-coordinator", "rag")
MOST_UPLOADS = 12
PATIENCE_S = 180.0
"""For a machine that is busy; a quiet one needs a tenth."""
HOPES = ("a translator", "a baker", "a pilot", "a gardener", "a teacher", "a nurse", "a painter", "a dentist")


class Writers:
    """Threads that write until they are told to stop; `acknowledged` holds what the platform said it has."""

    def __init__(self, platform: Platform, headers: dict[str, str]) -> None:
        self._platform, self._headers = platform, headers
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []
        self.acknowledged: defaultdict[str, list[Any]] = defaultdict(list)
        self.refused: list[str] = []

    def start(self, kind: str, write: Callable[[httpx.Client, int], Any]) -> None:
        thread = threading.Thread(target=self._loop, args=(kind, write), name=kind)
        self._threads.append(thread)
        thread.start()

    def _loop(self, kind: str, write: Callable[[httpx.Client, int], Any]) -> None:
        with httpx.Client(base_url=self._platform.url, headers=self._headers, timeout=60) as client:
            for number in range(1_000_000):
                if self._stopped.is_set():
                    return
                try:
                    done = write(client, number)
                    if done is None:
                        return
                    self.acknowledged[kind].append(done)
                except httpx.HTTPStatusError as error:
                    if error.response.status_code < 500:
                        self.refused.append(f"{kind}: {error.response.text}")
                        return
                    self._stopped.wait(0.1)  # whoever is down comes back; until then asking faster helps nobody
                except httpx.TransportError:
                    self._stopped.wait(0.1)

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(120)
            assert not thread.is_alive(), f"{thread.name} hangs"

    def until(self, kinds: dict[str, int]) -> None:
        """So many more writes of these kinds have been acknowledged."""
        wanted = {kind: len(self.acknowledged[kind]) + more for kind, more in kinds.items()}
        poll(lambda: self.refused or all(len(self.acknowledged[kind]) >= count for kind, count in wanted.items()))
        assert not self.refused, self.refused


def poll(ask: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if found := ask():
            return found
        time.sleep(0.05)
    raise AssertionError("it did not come about")


def told(answer: httpx.Response) -> dict[str, Any]:
    return dict(answer.raise_for_status().json())


def remember(client: httpx.Client, number: int) -> Any:
    content = f"Note {number}: shelf {number} of the cellar holds jar {number}."
    return told(client.post("/rag/memory", json={"content": content}))["memory_id"], content


def speech() -> bytes:
    """Three seconds."""
    sound, rate_hz = soundfile.read(AUDIO / "jfk.flac")
    into = io.BytesIO()
    soundfile.write(into, sound[: 3 * rate_hz], rate_hz, format="WAV")
    return into.getvalue()


def listing(client: httpx.Client, path: str, **params: Any) -> Iterator[dict[str, Any]]:
    cursor: str | None = None
    while True:
        page = told(client.get(path, params={"limit": 100, **params} | ({"cursor": cursor} if cursor else {})))
        yield from page["data"]
        if not page["has_more"]:
            return
        cursor = page["next_cursor"]


@pytest.fixture
def user(platform: Platform) -> Iterator[httpx.Client]:
    with platform.client("survivor") as client:
        yield client


def test_kill_9_during_any_write_loses_nothing_acknowledged(platform: Platform, user: httpx.Client) -> None:
    clip, draw = speech(), random.Random(SEED)
    made = told(user.post("/transcription/upload", files={"file": ("talk.wav", clip)}, params={"wait_s": 120}))
    recording, segment = made["transcript_id"], made["segments"][0]["segment_id"]
    hopes = " ".join(f"I think I work as {each}." for each in HOPES)
    talk = told(user.post("/gemma/chat", json={"message": hopes, "max_tokens": 1}))["conversation_id"]
    pending = poll(lambda: [each["memory_id"] for each in listing(user, "/rag/facts", state="pending")])

    def upload(client: httpx.Client, number: int) -> Any:
        if number >= MOST_UPLOADS:
            return None
        file = {"file": (f"clip {number}.wav", clip)}
        return told(client.post("/transcription/upload", files=file, params={"wait_s": 0}))["transcript_id"]

    def chat(client: httpx.Client, number: int) -> Any:
        question = f"Turn {number}: what does shelf {number} of the cellar hold?"
        body = {"message": question, "conversation_id": talk, "max_tokens": 1}
        answer = told(client.post("/gemma/chat", json=body))
        return question, answer["message_id"], answer["response"]

    def edit(client: httpx.Client, number: int) -> Any:
        text = f"This is edit number {number}."
        path = f"/transcription/{recording}/segments/{segment}"
        return number, told(client.patch(path, json={"text": text}))["revision"]

    def accept(client: httpx.Client, number: int) -> Any:
        memory_id = pending[number % len(pending)]
        told(client.post(f"/rag/facts/{memory_id}/accept"))
        return memory_id

    writers = Writers(platform, {"Authorization": user.headers["Authorization"]})
    for kind, write in {"note": remember, "upload": upload, "chat": chat, "edit": edit, "accept": accept}.items():
        writers.start(kind, write)
    try:
        for service in KILLED:
            writers.until({"note": draw.randint(1, 6), "chat": 1})
            platform.kill_service(service)
            writers.until({"note": 1, "edit": 1, "chat": 1, "accept": 1})
    finally:
        writers.stop()
    assert not writers.refused, writers.refused
    platform.wait_ready()

    known = writers.acknowledged
    check_notes(user, known["note"])
    check_uploads(user, known["upload"], clip)
    check_chat(user, talk, known["chat"])
    check_edits(user, recording, known["edit"])
    facts = Counter(each["memory_id"] for each in listing(user, "/rag/facts"))
    active = {each["memory_id"] for each in listing(user, "/rag/facts", state="active")}
    assert set(known["accept"]) <= active | superseded(user) and set(facts.values()) == {1}
    audit = poll(lambda: clean(user))
    assert audit["orphans"] == audit["loops"] == audit["duplicates"] == []


def superseded(client: httpx.Client) -> set[str]:
    """One works as one thing: a later acceptance replaces an earlier one."""
    return {each["memory_id"] for each in listing(client, "/rag/facts", state="superseded")}


def check_notes(client: httpx.Client, known: list[tuple[str, str]]) -> None:
    for memory_id, content in known:
        assert told(client.get(f"/rag/memory/{memory_id}"))["content"] == content
    times = Counter(each["content"] for each in listing(client, "/rag/memories", memory_type="note"))
    assert set(times.values()) == {1}
    memory_id, content = known[-1]
    found = client.post("/rag/search", json={"query": content}).raise_for_status().json()
    assert memory_id in {hit["metadata"]["memory_id"] for hit in found}


def check_uploads(client: httpx.Client, known: list[str], clip: bytes) -> None:
    assert known
    for name in known:
        poll(lambda name=name: told(client.get(f"/transcription/{name}"))["status"] == "completed")  # type: ignore[misc]
        assert client.get(f"/transcription/{name}/audio").content == clip
        assert "fellow americans" in told(client.get(f"/transcription/{name}"))["text"].lower()
    times = Counter(each["transcript_id"] for each in listing(client, "/transcription/recent"))
    assert all(times[name] == 1 for name in known)
    passages = Counter(
        (each["transcript_id"], each["segment_id"])
        for each in listing(client, "/rag/memories", memory_type="transcript")
    )
    assert {name for name, _ in passages} >= set(known) and set(passages.values()) == {1}


def check_chat(client: httpx.Client, talk: str, known: list[tuple[str, str, str]]) -> None:
    messages = told(client.get(f"/gemma/conversations/{talk}"))["messages"]
    asked = Counter(each["content"] for each in messages if each["role"] == "user")
    answers = {each["message_id"]: each for each in messages if each["role"] == "assistant"}
    assert len({each["message_id"] for each in messages}) == len(messages) and set(asked.values()) == {1}
    for question, message_id, response in known:
        assert asked[question] == 1 and answers[message_id]["content"] == response
        assert answers[message_id]["status"] == "complete"


def check_edits(client: httpx.Client, recording: str, known: list[tuple[int, int]]) -> None:
    """The last one stands, or one behind it that was made and not acknowledged; all have their revision."""
    transcript = told(client.get(f"/transcription/{recording}"))
    assert int(transcript["segments"][0]["text"].rstrip(".").split()[-1]) >= known[-1][0]
    revisions = Counter(each["revision"] for each in listing(client, f"/transcription/{recording}/revisions"))
    oldest_kept = transcript["revision"] - 90
    assert all(revisions[revision] == 1 for _, revision in known if revision > oldest_kept)
    number, revision = known[-1]
    then = told(client.get(f"/transcription/{recording}/revisions/{revision}"))
    assert then["segments"][0]["text"] == f"This is edit number {number}."


def clean(client: httpx.Client) -> dict[str, Any] | None:
    """The audit, once every passage is in the index."""
    audit = told(client.get("/rag/audit"))
    index = audit["index"]
    return audit if index["indexed"] == index["chunks"] and index["stale"] == 0 else None
