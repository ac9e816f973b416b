"""What a reader can hold an answer and a summary to, through the running stack and with the model that ships."""

from __future__ import annotations

import time

import httpx
import pytest

from tests.conftest import AUDIO, Platform


@pytest.fixture(scope="module")
def anna(platform: Platform) -> httpx.Client:
    return platform.client("anna-evidence")


@pytest.fixture(scope="module")
def speech(anna: httpx.Client) -> dict:
    with (AUDIO / "jfk.flac").open("rb") as file:
        answer = anna.post("/transcription/upload", files={"file": ("jfk.flac", file)}, params={"wait_s": 280})
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_every_sentence_of_an_answer_is_marked(anna: httpx.Client, speech: dict) -> None:
    answer = anna.post("/gemma/chat", json={"message": "What should Americans ask about their country?"}).json()
    quoted = answer["evidence"][0]
    assert (quoted["verdict"], quoted["method"], quoted["citation"]) == ("supported", "exact", 1)
    for each in answer["evidence"]:
        assert answer["response"][each["start"] : each["end"]] == each["sentence"]
        assert each["verdict"] in ("supported", "contradicted", "unsupported")
    stored = anna.get(f"/gemma/conversations/{answer['conversation_id']}").json()["messages"][-1]
    assert stored["evidence"] == answer["evidence"]


def test_a_recording_is_summarised_at_once_and_by_the_model(anna: httpx.Client, speech: dict) -> None:
    path = f"/transcription/{speech['transcript_id']}/summary"
    assert anna.get(path).status_code == 404
    made = anna.post(path)
    assert made.status_code == 200, made.text
    told = made.json()
    assert "country" in told["text"] and told["coverage"]["share"] == 1.0 and told["mode"] == "extractive"
    assert anna.get(path).json() == told
    accepted = anna.post(path, json={"mode": "model", "template": "voice_note"}, params={"wait_s": 0})
    assert accepted.status_code == 202, accepted.text
    job = accepted.headers["location"]
    deadline = time.monotonic() + 400
    while anna.get(job).json()["state"] not in ("succeeded", "failed", "dead") and time.monotonic() < deadline:
        time.sleep(0.5)
    assert anna.get(job).json()["state"] == "succeeded"
    worded = anna.get(path).json()
    assert worded["mode"] == "model" and worded["model"] and worded["text"] and worded["coverage"]["share"] == 1.0
    assert anna.post(path, json={"prompt": "only jokes"}).status_code == 422


def test_another_user_has_no_summary_of_it(platform: Platform, speech: dict) -> None:
    with platform.client("ben-evidence") as ben:
        path = f"/transcription/{speech['transcript_id']}/summary"
        assert ben.get(path).status_code == ben.post(path).status_code == 404
