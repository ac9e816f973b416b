"""docs/mobile.md, played from beginning to end against the running platform: each of its calls, and no other way."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from tests.conftest import AUDIO, ROOT, Platform

PAGE = (ROOT / "docs" / "mobile.md").read_text()
CALL = re.compile(r"^(GET|HEAD|POST|PATCH|DELETE|OPTIONS) (/\S+)", re.MULTILINE)
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
DOCUMENTED = sorted({found for kind, block in BLOCKS if not kind for found in CALL.findall(block)})
SOUND = (AUDIO / "jfk.flac").read_bytes()
TUS = {"Tus-Resumable": "1.0.0"}
PASSWORD = "a long enough pass phrase"


class Phone:
    """A client that keeps a copy, written by the page."""

    def __init__(self, url: str, name: str) -> None:
        self.called: set[tuple[str, str]] = set()
        self.http = httpx.Client(base_url=url, timeout=120, event_hooks={"request": [self._note]})
        self.http.headers["User-Agent"] = f"{name}/1.0"
        self.pair: dict[str, Any] = {}
        self.copy: dict[tuple[str, str], Any] = {}
        self.cursor: str | None = None

    def _note(self, request: httpx.Request) -> None:
        self.called.add((request.method, request.url.path))

    def use(self, pair: dict[str, Any]) -> None:
        self.pair = pair
        self.http.headers["Authorization"] = f"Bearer {pair['access_token']}"

    def sync(self, limit: int = 3) -> None:
        more = True
        while more:
            params = {"limit": limit} | ({"cursor": self.cursor} if self.cursor else {})
            page = self.http.get("/sync", params=params).raise_for_status().json()
            for each in page["data"]:
                if each["deleted"]:
                    self.copy.pop((each["kind"], each["id"]), None)
                else:
                    self.copy[each["kind"], each["id"]] = each[each["kind"]]
            self.cursor, more = page["next_cursor"], page["has_more"]

    def piece(self, where: str, offset: int, data: bytes) -> httpx.Response:
        headers = TUS | {"Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
        return self.http.patch(where, content=data, headers=headers)


@pytest.fixture(scope="module")
def phone(platform: Platform) -> Iterator[Phone]:
    made = Phone(platform.url, "Phone")
    yield made
    made.http.close()


def metadata(**fields: str) -> str:
    return ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in fields.items())


def test_1_the_server_says_what_it_is(phone: Phone) -> None:
    card = phone.http.get("/.well-known/nemo-server").json()
    assert card["product"] == "nemo-server" and card["api_version"] == 1 and not card["first_run"]
    assert {"sync", "live", "audio_links"} <= set(card["features"])


def test_2_signing_in(phone: Phone) -> None:
    body = {"username": "mobile-contract", "password": PASSWORD}
    assert phone.http.post("/auth/register", json=body).status_code == 201
    pair = phone.http.post("/auth/login", json=body).json()
    assert pair["expires_in"] == 900 and pair["refresh_token"].startswith("nrt_")
    phone.use(pair)


def test_3_a_lost_refresh_may_be_asked_for_again_and_devices_are_listed(phone: Phone) -> None:
    first, again = (
        phone.http.post("/auth/refresh", json={"refresh_token": phone.pair["refresh_token"]}).json() for _ in range(2)
    )
    assert first["refresh_token"] == again["refresh_token"] != phone.pair["refresh_token"]
    phone.use(again)
    body = {"username": "mobile-contract", "password": PASSWORD}
    phone.http.post("/auth/login", json=body, headers={"User-Agent": "Tablet/2.0"})
    found = {each["device"]: each for each in phone.http.get("/auth/sessions").json()["data"]}
    assert found["Phone/1.0"]["current"] and not found["Tablet/2.0"]["current"]
    assert phone.http.delete(f"/auth/sessions/{found['Tablet/2.0']['id']}").status_code == 204
    assert [each["device"] for each in phone.http.get("/auth/sessions").json()["data"]] == ["Phone/1.0"]


@pytest.fixture(scope="module")
def recording(phone: Phone) -> str:
    """Sent in pieces, the first of which breaks off."""
    assert int(phone.http.options("/transcription/uploads").headers["tus-max-size"]) >= len(SOUND)
    begin = TUS | {"Upload-Length": str(len(SOUND)), "Upload-Metadata": metadata(filename="jfk.flac", title="Moon")}
    given_up = phone.http.post("/transcription/uploads", headers=begin).headers["location"]
    assert phone.http.delete(given_up, headers=TUS).status_code == 204
    where = phone.http.post("/transcription/uploads", headers=begin).headers["location"]
    half = len(SOUND) // 2
    assert phone.piece(where, 0, SOUND[:half]).status_code == 204
    assert phone.piece(where, 0, SOUND[:half]).json()["code"] == "offset_conflict"
    assert phone.http.head(where, headers=TUS).headers["upload-offset"] == str(half)
    last = phone.piece(where, half, SOUND[half:])
    told = phone.http.head(where, headers=TUS).headers
    assert told["x-transcript-id"] == last.headers["x-transcript-id"]
    assert phone.http.get(last.headers["location"]).json()["job_id"] == last.headers["x-job-id"]
    return str(last.headers["x-transcript-id"])


def test_4_a_recording_sent_in_pieces_is_transcribed(phone: Phone, recording: str) -> None:
    deadline = time.monotonic() + 240
    while (found := phone.http.get(f"/transcription/{recording}").json())["status"] not in ("completed", "failed"):
        assert time.monotonic() < deadline, found
        time.sleep(0.5)
    assert found["title"] == "Moon" and "country" in found["text"]


def test_5_it_is_played_and_drawn(phone: Phone, recording: str) -> None:
    link = phone.http.post(f"/transcription/{recording}/audio-link").json()
    part = httpx.get(str(phone.http.base_url).rstrip("/") + link["url"], headers={"Range": "bytes=0-99"}, timeout=60)
    assert part.status_code == 206 and part.content == SOUND[:100]
    assert phone.http.get(f"/transcription/{recording}/audio").content == SOUND
    peaks = phone.http.get(f"/transcription/{recording}/peaks", params={"points": 500}).json()
    assert peaks["points"] == 500 and len(peaks["peaks"][0]) == 1000 and max(peaks["peaks"][0]) > 0.1


def test_6_a_ticket_opens_one_socket(phone: Phone) -> None:
    ticket = phone.http.post("/auth/ticket").json()["ticket"]
    address = str(phone.http.base_url).replace("http", "ws", 1).rstrip("/")
    with connect(f"{address}/transcription/stream?ticket={ticket}") as socket:
        socket.send('{"type": "start", "sample_rate_hz": 16000}')
        assert '"ready"' in str(socket.recv(60))
        socket.send('{"type": "stop"}')
    with pytest.raises(Exception, match="401"):
        connect(f"{address}/transcription/stream?ticket={ticket}")


def test_7_an_answer_outlives_the_line_and_its_proof_is_played(phone: Phone, recording: str) -> None:
    ask = {"message": "What should Americans ask about their country?", "stream": True, "max_tokens": 40}
    with phone.http.stream("POST", "/gemma/chat", json=ask) as answer:  # the line breaks after its first event
        first = next(each for each in answer.iter_lines() if each.startswith("id: ")).removeprefix("id: ")
        events = f"/gemma/messages/{answer.headers['x-message-id']}/events"
    told = phone.http.get(events, headers={"Last-Event-ID": first}).text
    named = re.findall(r"^event: (\w+)$", told, re.MULTILINE)
    assert named[-1] == "done" and "citation" in named
    done = json.loads(told.strip().rsplit("data: ", 1)[1])
    proof = done["citations"][0]
    assert proof["transcript_id"] == recording and 0 <= proof["start_s"] < proof["end_s"] and not proof["related"]
    assert "[1]" in done["response"]
    for each in done["evidence"]:
        assert done["response"][each["start"] : each["end"]] == each["sentence"]
    assert phone.http.post(events.replace("events", "cancel")).status_code in (200, 202, 204)
    ask = {"message": "At what time of the day should Americans ask what they can do for their country?"}
    ask |= {"conversation_id": done["conversation_id"]}
    nearest = phone.http.post("/gemma/chat", json=ask | {"max_tokens": 40}).json()
    assert {each["related"] for each in nearest["citations"]} == {True} and "The nearest is:" in nearest["response"]
    kept = phone.http.get(f"/gemma/conversations/{done['conversation_id']}").json()["messages"]
    assert [each["role"] for each in kept] == ["user", "assistant"] * 2


def test_8_and_9_the_copy_follows_what_is_made_and_deleted(phone: Phone, recording: str) -> None:
    phone.sync()
    assert phone.copy["recording", recording]["title"] == "Moon"
    key = {"Idempotency-Key": "made-on-a-train-1"}
    first, again = (
        phone.http.post("/rag/memory", json={"content": "The key lies under the pot."}, headers=key) for _ in range(2)
    )
    memory = first.json()["memory_id"]
    assert again.json()["memory_id"] == memory
    phone.sync()
    assert phone.copy["memory", memory]["content"] == "The key lies under the pot."
    assert phone.http.delete(f"/rag/memory/{memory}").status_code == 204
    assert phone.http.delete(f"/transcription/{recording}").status_code == 204
    phone.sync()
    assert ("memory", memory) not in phone.copy and ("recording", recording) not in phone.copy
    phone.cursor, before, phone.copy = None, phone.copy, {}
    phone.sync()
    assert phone.copy == before


def test_10_every_call_of_the_page_was_made(phone: Phone, recording: str) -> None:
    phone.http.post("/auth/logout")
    assert phone.http.get("/sync").status_code == 401
    body = {"username": "mobile-contract", "password": PASSWORD}
    phone.use(phone.http.post("/auth/login", json=body).json())
    assert phone.http.request("DELETE", "/auth/me", json={"password": "wrong"}).status_code == 422
    assert phone.http.request("DELETE", "/auth/me", json={"password": PASSWORD}).status_code == 204
    assert phone.http.get("/auth/me").status_code == 401
    assert phone.http.post("/auth/login", json=body).status_code == 401
    assert len(DOCUMENTED) > 20
    missing = [
        (method, path)
        for method, path in DOCUMENTED
        if not any(
            method == done and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", path), where) for done, where in phone.called
        )
    ]
    assert not missing
