"""The live stream through the front door, as a browser and a script have it."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection

from shared.audio.decode import decode
from tests.conftest import AUDIO, Platform, connect

PIECE = 3_200


@pytest.fixture(scope="module")
def jfk() -> bytes:
    import asyncio

    return asyncio.run(decode((AUDIO / "jfk.flac").read_bytes())).mono().tobytes()


@pytest.fixture(scope="module")
def lena(platform: Platform) -> httpx.Client:
    return platform.client("live-lena")


def address(platform: Platform, query: str = "") -> str:
    return platform.url.replace("http", "ws") + "/transcription/stream" + query


def begin(socket: ClientConnection, **more: Any) -> dict[str, Any]:
    socket.send(json.dumps({"type": "start", "sample_rate_hz": 16_000} | more))
    return until(socket, "ready")


def until(socket: ClientConnection, kind: str, wait_s: float = 200) -> dict[str, Any]:
    deadline = time.monotonic() + wait_s
    while True:
        event: dict[str, Any] = json.loads(socket.recv(timeout=max(0.1, deadline - time.monotonic())))
        if event["type"] == kind:
            return event


def test_a_script_with_a_token(platform: Platform, lena: httpx.Client, jfk: bytes) -> None:
    with connect(address(platform), additional_headers={"Authorization": lena.headers["Authorization"]}) as socket:
        ready = begin(socket, title="From a script")
        for at in range(0, len(jfk), PIECE):
            socket.send(jfk[at : at + PIECE])
        socket.send('{"type": "stop"}')
        assert "fellow" in until(socket, "final")["text"]
        end = until(socket, "end")
    assert end["transcript_id"] == ready["transcript_id"]
    deadline = time.monotonic() + 300
    while (job := lena.get(f"/jobs/{end['job_id']}").json())["state"] not in ("succeeded", "failed"):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert job["state"] == "succeeded"
    transcript = lena.get(f"/transcription/{end['transcript_id']}").json()
    assert transcript["title"] == "From a script" and "country" in transcript["text"]
    assert transcript["segments"][0]["emotion"]["metrics"]["pitch_mean_hz"] > 60
    found = lena.post("/rag/search", json={"query": "what you can do for your country"}).json()
    assert any(each["metadata"]["transcript_id"] == end["transcript_id"] for each in found)


def test_a_browser_with_a_ticket_that_is_good_once(platform: Platform, lena: httpx.Client) -> None:
    ticket = lena.post("/auth/ticket").json()["ticket"]
    with connect(address(platform, f"?ticket={ticket}")) as socket:
        begin(socket)
    with pytest.raises(InvalidStatus) as refused:
        connect(address(platform, f"?ticket={ticket}"))
    assert refused.value.response.status_code == 401
    assert json.loads(refused.value.response.body)["code"] == "unauthenticated"


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer x"}, {"X-User-Id": "usr_1"}])
def test_nobody_else_comes_in(platform: Platform, headers: dict[str, str]) -> None:
    with pytest.raises(InvalidStatus) as refused:
        connect(address(platform), additional_headers=headers)
    assert refused.value.response.status_code == 401


def test_a_token_without_the_scope_stays_out(platform: Platform, lena: httpx.Client) -> None:
    token = lena.post("/auth/tokens", json={"name": "x", "scopes": ["memory"]}).json()["token"]
    with pytest.raises(InvalidStatus) as refused:
        connect(address(platform), additional_headers={"Authorization": f"Bearer {token}"})
    assert refused.value.response.status_code == 403


def test_signing_out_ends_open_streams(platform: Platform) -> None:
    http = platform.client("live-leaver")
    with connect(address(platform), additional_headers={"Authorization": http.headers["Authorization"]}) as socket:
        begin(socket)
        http.post("/auth/logout").raise_for_status()
        with pytest.raises(ConnectionClosed) as closed:
            until(socket, "never", 60)
    assert closed.value.rcvd is not None and closed.value.rcvd.code == 4401


def test_a_stream_outlives_its_service(platform: Platform, lena: httpx.Client, jfk: bytes) -> None:
    headers = {"Authorization": lena.headers["Authorization"]}
    with connect(address(platform), additional_headers=headers) as socket:
        token = begin(socket)["resume_token"]
        socket.send(jfk[:64_000])
        until(socket, "ack")
        platform.kill_service("transcription")
        with pytest.raises(ConnectionClosed) as closed:
            until(socket, "never", 60)
    assert closed.value.rcvd is not None and closed.value.rcvd.code == 1013
    platform.wait_ready()
    with connect(address(platform), additional_headers=headers) as socket:
        assert begin(socket, resume_token=token)["audio_ms"] == 2_000
        socket.send('{"type": "stop"}')
        assert until(socket, "end")["audio_ms"] == 2_000
