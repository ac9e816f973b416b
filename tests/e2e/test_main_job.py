"""What a stranger does with the platform, through the running stack."""

from __future__ import annotations

import contextlib
import json
import time
import wave
from difflib import SequenceMatcher
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile

from services.cli.demo import RECORDING
from tests.conftest import AUDIO, Platform


def upload(client: httpx.Client, path: Path, **params: object) -> httpx.Response:
    with path.open("rb") as file:
        return client.post("/transcription/upload", files={"file": (path.name, file, "audio/flac")}, params=params)


@pytest.fixture(scope="module")
def anna(platform: Platform) -> httpx.Client:
    return platform.client("anna")


@pytest.fixture(scope="module")
def speech(anna: httpx.Client) -> dict:
    answer = upload(anna, AUDIO / "jfk.flac", wait_s=280)
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_a_recording_becomes_words_with_times_and_emotion(speech: dict) -> None:
    assert "ask what you can do for your country" in speech["text"].lower().replace(",", "")
    assert speech["status"] == "completed" and speech["language"] == "en"
    words = [word for segment in speech["segments"] for word in segment["words"]]
    assert all(0 <= word["start_s"] <= word["end_s"] <= 11.1 for word in words)
    assert all(segment["emotion"]["label"] for segment in speech["segments"])


def test_it_is_found_by_meaning(anna: httpx.Client, speech: dict) -> None:
    hits = anna.post("/rag/search", json={"query": "duty of citizens towards their nation"}).json()
    assert hits[0]["metadata"]["transcript_id"] == speech["transcript_id"]


def test_the_answer_cites_the_second(anna: httpx.Client, speech: dict) -> None:
    answer = anna.post("/gemma/chat", json={"message": "What should Americans ask about their country?"}).json()
    citation = answer["citations"][0]
    assert citation["transcript_id"] == speech["transcript_id"] and citation["quote"] in answer["response"]
    assert 0 <= citation["start_s"] < citation["end_s"] <= 11.1
    conversation = anna.get(f"/gemma/conversations/{answer['conversation_id']}").json()
    assert [message["role"] for message in conversation["messages"]] == ["user", "assistant"]


def test_the_answer_streams_and_can_be_read_again(anna: httpx.Client, speech: dict) -> None:
    body = {"message": "What did he ask of Americans?", "stream": True}
    with anna.stream("POST", "/gemma/chat", json=body) as answer:
        message_id = answer.headers["x-message-id"]
        text = "".join(answer.iter_text())
    events = [line.removeprefix("event: ") for line in text.splitlines() if line.startswith("event: ")]
    assert {"status", "context", "citation", "token"} <= set(events) and events[-1] == "done"
    again = anna.get(f"/gemma/messages/{message_id}/events", headers={"Last-Event-ID": str(len(events) - 1)})
    assert again.text.count("event: ") == 1 and "event: done" in again.text


def test_nothing_found_is_said(platform: Platform) -> None:
    with platform.client("empty-handed") as client:
        answer = client.post("/gemma/chat", json={"message": "When does the plumber come?"}).json()
    assert answer["citations"] == [] and "found nothing" in answer["response"]


def test_audio_comes_back_by_range(anna: httpx.Client, speech: dict) -> None:
    original = (AUDIO / "jfk.flac").read_bytes()
    path = f"/transcription/{speech['transcript_id']}/audio"
    assert anna.get(path).content == original
    part = anna.get(path, headers={"Range": "bytes=70000-70099"})
    assert part.status_code == 206 and part.content == original[70000:70100]
    assert part.headers["content-range"] == f"bytes 70000-70099/{len(original)}"
    assert anna.get(path, headers={"Range": "bytes=-10"}).content == original[-10:]
    assert anna.get(path, headers={"Range": "bytes=99999999-"}).status_code == 416


@pytest.mark.parametrize("form", ["json", "txt", "md", "srt", "vtt", "rttm", "csv"])
def test_exports(anna: httpx.Client, speech: dict, form: str) -> None:
    answer = anna.get(f"/transcription/{speech['transcript_id']}/export", params={"format": form})
    assert answer.status_code == 200 and f".{form}" in answer.headers["content-disposition"]
    assert form == "rttm" or "country" in answer.text
    if form == "json":
        assert json.loads(answer.text)["transcript_id"] == speech["transcript_id"]


def test_progress_is_told_while_it_works(anna: httpx.Client) -> None:
    accepted = upload(anna, AUDIO / "librivox-sas-0870.wav", wait_s=0)
    assert accepted.status_code == 202
    job = accepted.headers["location"]
    with anna.stream("GET", f"{job}/events") as events:
        seen = [json.loads(line[6:]) for line in events.iter_lines() if line.startswith("data: ")]
    assert seen[-1]["state"] == "succeeded" and seen[-1]["progress"]["percent"] == 100
    assert anna.get(job).json()["result"]["transcript_id"] == accepted.json()["transcript_id"]


@pytest.fixture(scope="module")
def reading(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two and a half minutes, in which no sentence follows itself: of those tiny.en leaves some out."""
    sound, rate_hz = soundfile.read(RECORDING)
    path = tmp_path_factory.mktemp("reading") / "reading.flac"
    soundfile.write(path, np.concatenate([sound, sound]), rate_hz)
    return path


@pytest.fixture(scope="module")
def undisturbed(anna: httpx.Client, reading: Path) -> str:
    return str(upload(anna, reading, wait_s=280).json()["text"])


@pytest.mark.parametrize("service", ["transcription", "gpu-coordinator", "rag", "emotion", "api-gateway"])
def test_a_recording_outlives_the_death_of_any_service(
    platform: Platform, anna: httpx.Client, reading: Path, undisturbed: str, service: str
) -> None:
    """kill -9 in the middle: the upload was acknowledged, so a transcript must come, and no word of it is missing."""
    accepted = upload(anna, reading, wait_s=0)
    assert accepted.status_code == 202
    time.sleep(1)
    platform.kill_service(service)
    deadline = time.monotonic() + 400
    transcript: dict = {}
    while time.monotonic() < deadline and transcript.get("status") != "completed":
        time.sleep(0.5)
        with contextlib.suppress(httpx.TransportError):  # the gateway itself may be the dead one
            answer = anna.get(f"/transcription/{accepted.json()['transcript_id']}")
            transcript = answer.json() if answer.status_code == 200 else {}
    assert transcript.get("status") == "completed", transcript
    same = SequenceMatcher(None, undisturbed.split(), transcript["text"].split(), autojunk=False).ratio()
    assert same > 0.9, (undisturbed, transcript["text"])
    platform.wait_ready()


def test_delete_means_gone(platform: Platform) -> None:
    with platform.client("forgetful") as client:
        transcript = upload(client, AUDIO / "librivox-sas-0870.wav", wait_s=280).json()
        recording = transcript["transcript_id"]
        assert client.post("/rag/search", json={"query": transcript["text"]}).json()
        assert client.delete(f"/transcription/{recording}").status_code == 204
        assert client.get(f"/transcription/{recording}").status_code == 404
        assert client.get(f"/transcription/{recording}/audio").status_code == 404
        assert client.post("/rag/search", json={"query": transcript["text"]}).json() == []
        assert client.get("/transcription/recent").json()["data"] == []
    assert not list(platform.data_dir.glob(f"blobs/*/{recording}"))


def test_silence_invents_nothing(anna: httpx.Client, tmp_path: Path) -> None:
    path = tmp_path / "silence.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(b"\0\0" * 16000 * 20)
    answer = upload(anna, path, wait_s=280)
    assert answer.status_code == 201 and answer.json()["segments"] == [] and answer.json()["text"] == ""


@pytest.mark.parametrize("content", [b"", b"this is no audio at all" * 100, b"RIFF\xff\xff\xff\xffWAVEfmt "])
def test_what_is_no_audio_is_refused_with_a_reason(anna: httpx.Client, content: bytes) -> None:
    answer = anna.post("/transcription/upload", files={"file": ("x.wav", content, "audio/wav")}, params={"wait_s": 60})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json" and answer.json()["code"] == "audio_unreadable"


def test_a_memory_survives_kill_of_its_service(platform: Platform) -> None:
    with platform.client("careful") as client:
        saved = client.post("/rag/memory", json={"content": "The spare key is under the blue flower pot."})
        assert saved.status_code == 201
        platform.kill_service("rag")
        platform.wait_ready()
        hits = client.post("/rag/search", json={"query": "Where is the extra key?"}).json()
        assert hits[0]["metadata"]["memory_id"] == saved.json()["memory_id"]


def test_idempotency_key_makes_one_memory(anna: httpx.Client) -> None:
    body, headers = {"content": "Only once, please."}, {"Idempotency-Key": "e2e-1"}
    first = anna.post("/rag/memory", json=body, headers=headers)
    second = anna.post("/rag/memory", json=body, headers=headers)
    assert first.json() == second.json() and second.headers["idempotency-replayed"] == "true"
    other = anna.post("/rag/memory", json={"content": "Something else."}, headers=headers)
    assert other.status_code == 422


def test_no_user_text_in_the_clear(platform: Platform) -> None:
    """A canary phrase must stand nowhere on the disk: databases, logs, index, spool."""
    canary = "zanzibarquetzal"
    with platform.client("canary") as client:
        client.post("/rag/memory", json={"content": f"The word is {canary}."})
        client.post("/gemma/chat", json={"message": f"What is {canary}?"})
        client.post("/emotion/analyze", json={"text": f"I love {canary}."})
        names = {"title": canary, "context": canary, "tags": canary}
        files = {"file": (f"{canary}.flac", (AUDIO / "jfk.flac").read_bytes())}
        assert client.post("/transcription/upload", files=files, data=names).status_code == 201
        password = {"password": "a long enough pass phrase"}
        code = client.post("/vault/seal", json=password).raise_for_status().json()["recovery_code"]
        client.post("/rag/memory", json={"content": f"Sealed: {canary}."}).raise_for_status()
        client.post("/vault/lock").raise_for_status()
        assert client.post("/rag/search", json={"query": canary}).status_code == 423
        client.post("/vault/unlock", json={"recovery_code": code}).raise_for_status()
        assert canary in client.post("/rag/search", json={"query": canary}).json()[0]["content"]
    time.sleep(1)
    for path in platform.data_dir.rglob("*"):
        found = b""
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):  # a living platform: some go meanwhile
            found = path.read_bytes() if path.is_file() else b""
        if found:
            assert canary.encode() not in found and code.encode() not in found, path


def test_deleting_a_user_destroys_what_was_theirs(platform: Platform) -> None:
    admin = platform.client("first-admin")
    with platform.client("leaver") as client:
        user_id = client.get("/auth/me").json()["id"]
        client.post("/rag/memory", json={"content": "Mine alone."})
        assert (platform.data_dir / "vaults" / f"{user_id}.db").exists()
        assert admin.delete(f"/auth/users/{user_id}").status_code == 204
        assert client.get("/auth/me").status_code == 401
    assert not (platform.data_dir / "vaults" / f"{user_id}.db").exists()


def test_the_page_is_served_with_a_strict_policy(platform: Platform) -> None:
    page = httpx.get(platform.url, headers={"Accept": "text/html"}, timeout=60)
    assert page.status_code == 200 and "<html" in page.text
    policy = page.headers["content-security-policy"]
    assert "default-src 'self'" in policy and "unsafe" not in policy
    assert httpx.get(f"{platform.url}/no/such/thing", timeout=60).status_code == 404
