"""Voice chat through the front door, with a real microphone's worth of sound, real speech back, and interruptions."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection

from tests.conftest import AUDIO, Platform, connect
from tests.integration.transcription_house import wav

RATE_HZ = 24_000
PIECE = RATE_HZ * 2 // 10
PATIENCE_S = 400.0
pytestmark = pytest.mark.timeout(900)  # a model on two busy cores may think for minutes
QUESTION = "What should my fellow Americans ask about their country?"


def words(text: str) -> set[str]:
    return {"".join(c for c in word if c.isalnum()) for word in text.lower().split()} - {""}


class Talker:
    """A client of the voice chat: events and sound in the order in which they came."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.got: list[dict[str, Any] | bytes] = []

    def say(self, kind: str, **more: Any) -> None:
        self.socket.send(json.dumps({"type": kind} | more))

    def send(self, pcm: bytes) -> None:
        for at in range(0, len(pcm), PIECE):
            self.socket.send(pcm[at : at + PIECE])

    def until(self, wanted: str | Callable[[Any], bool], wait_s: float = PATIENCE_S) -> Any:
        """Reads on to the next event of that kind."""
        deadline = time.monotonic() + wait_s
        while True:
            raw = self.socket.recv(timeout=max(0.1, deadline - time.monotonic()))
            got = json.loads(raw) if isinstance(raw, str) else raw
            self.got.append(got)
            if wanted(got) if callable(wanted) else isinstance(got, dict) and got["type"] == wanted:
                return got

    def of(self, kind: str, since: int = 0) -> list[dict[str, Any]]:
        return [each for each in self.got[since:] if isinstance(each, dict) and each["type"] == kind]

    @property
    def sound(self) -> bytes:
        return b"".join(each for each in self.got if isinstance(each, bytes))


@contextmanager
def talking(platform: Platform, http: httpx.Client, **start: Any) -> Iterator[Talker]:
    url = platform.url.replace("http", "ws") + "/voice"
    headers = {"Authorization": http.headers["Authorization"]}
    with connect(url, additional_headers=headers, max_size=None) as socket:
        talker = Talker(socket)
        talker.say("start", **({"sample_rate_hz": RATE_HZ, "language": "en"} | start))
        yield talker


@contextmanager
def microphone(talker: Talker) -> Iterator[list[bytes]]:
    """Sends what is put into the list, else silence, at the pace of a microphone."""
    waiting: list[bytes] = []
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(0.1):
            frame, rest = (waiting[0][:PIECE], waiting[0][PIECE:]) if waiting else (bytes(PIECE), b"")
            if waiting:
                waiting[:1] = [rest] if rest else []
            talker.socket.send(frame)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield waiting
    finally:
        ended.set()
        thread.join(5)


@pytest.fixture(scope="module")
def vera(platform: Platform) -> httpx.Client:
    """Somebody with a recording."""
    http = platform.client("voice-vera")
    with (AUDIO / "jfk.flac").open("rb") as file:
        made = http.post("/transcription/upload", files={"file": file}, params={"wait_s": 280}).json()
    assert made["status"] == "completed", made
    return http


def spoken(http: httpx.Client, text: str) -> bytes:
    """By the platform's own voice, 24 kHz."""
    answer = http.post("/v1/audio/speech", json={"input": text, "response_format": "pcm"}, timeout=300)
    assert answer.status_code == 200, answer.text
    return answer.content


@pytest.fixture(scope="module")
def question(vera: httpx.Client) -> bytes:
    return spoken(vera, QUESTION)


def messages(http: httpx.Client, conversation_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = http.get(f"/gemma/conversations/{conversation_id}").json()["messages"]
    return found


def test_a_spoken_question_is_answered_aloud_with_its_proof(
    platform: Platform, vera: httpx.Client, question: bytes
) -> None:
    before = vera.get("/transcription/recent").json()["data"]
    with talking(platform, vera, mode="push") as talker:
        ready = talker.until("ready")
        assert ready["speak"] and "transcript_id" not in ready
        talker.send(question)  # before the button: nobody's business
        talker.say("talk", on=True)
        talker.send(question)
        talker.say("talk", on=False)
        asked = talker.until(lambda got: isinstance(got, dict) and got.get("final") is True)
        assert len(words(asked["text"]) & words(QUESTION)) >= 0.7 * len(words(QUESTION)), asked
        assert len(asked["text"].split()) < 1.5 * len(QUESTION.split()), "what was said before the button is not in it"
        done = talker.until("done")
        talker.say("stop")
        assert talker.until("end")["conversation_id"] == done["conversation_id"]
    numbers = [each["seq"] for each in talker.got if isinstance(each, dict)]
    assert numbers == list(range(1, len(numbers) + 1))
    citation = talker.of("citation")[0]["citation"]
    assert "country" in citation["quote"] and citation["end_s"] > citation["start_s"]
    answer = "".join(each["text"] for each in talker.of("token"))
    kept = messages(vera, done["conversation_id"])
    assert [(each["role"], each["status"]) for each in kept] == [("user", "complete"), ("assistant", "complete")]
    assert kept[0]["content"] == asked["text"] and kept[1]["content"] == answer
    assert kept[1]["message_id"] == done["message_id"]
    assert vera.get("/transcription/recent").json()["data"] == before, "nothing of the microphone is kept"

    aloud = " ".join(each["text"] for each in talker.of("sentence"))
    assert "[" not in aloud and "“" not in aloud
    order = [each["type"] if isinstance(each, dict) else "sound" for each in talker.got]
    assert order.index("audio") < order.index("sentence") < order.index("sound") < order.index("done")
    assert max(len(each) for each in talker.got if isinstance(each, bytes)) <= PIECE
    assert len(talker.sound) / 2 / RATE_HZ == pytest.approx(done["timings"]["spoken_s"], abs=0.5)
    form = {"file": ("answer.wav", wav(np.frombuffer(talker.sound, dtype="<i2"), RATE_HZ))}
    heard = vera.post("/v1/audio/transcriptions", files=form, data={"model": "whisper-1"}, timeout=300).json()["text"]
    assert len(words(heard) & words(aloud)) >= 0.6 * len(words(aloud)), (heard, aloud)

    follow = vera.post(
        "/gemma/chat",
        json={"message": "And why?", "conversation_id": done["conversation_id"], "max_tokens": 1},
        timeout=300,
    )
    assert follow.status_code == 200 and len(messages(vera, done["conversation_id"])) == 4


def test_speech_over_the_answer_ends_it_and_is_the_next_question(
    platform: Platform, vera: httpx.Client, question: bytes
) -> None:
    other = spoken(vera, "What can my country do for me?")
    with talking(platform, vera, mode="hands_free") as talker, microphone(talker) as voice:
        talker.until("ready")
        voice.append(question)
        talker.until(lambda got: isinstance(got, dict) and got.get("final") is True)
        talker.until(lambda got: isinstance(got, bytes))
        voice.append(other)
        ended = talker.until("interrupted")
        assert ended["by"] == "speech" and ended["spoken_ms"] > 0
        at = len(talker.got)
        asked = talker.until(lambda got: isinstance(got, dict) and got.get("final") is True)
        assert "country" in asked["text"].lower(), asked
        assert not [each for each in talker.got[at:] if isinstance(each, bytes)], "not one more piece of it"
        assert not talker.of("sentence", at) and not talker.of("token", at)
        thought = talker.until("thinking")
        talker.say("interrupt")
        assert talker.until("interrupted")["by"] == "button"
    assert thought["conversation_id"] == ended["conversation_id"]
    kept = messages(vera, thought["conversation_id"])
    assert [each["content"] for each in kept if each["role"] == "user"][1] == asked["text"]


def test_what_the_microphone_hears_softly_of_the_answer_does_not_end_it(
    platform: Platform, vera: httpx.Client, question: bytes
) -> None:
    echo = (np.frombuffer(question, dtype="<i2") * 0.02).astype("<i2").tobytes()
    with talking(platform, vera, mode="hands_free") as talker, microphone(talker) as voice:
        talker.until("ready")
        voice.append(question)
        talker.until(lambda got: isinstance(got, bytes))
        voice.append(echo)
        talker.until("done")
        assert not talker.of("interrupted")
        assert len([each for each in talker.of("transcript") if each["final"]]) == 1


def test_a_remembered_chat_is_a_recording(platform: Platform, vera: httpx.Client, question: bytes) -> None:
    with talking(platform, vera, mode="push", remember=True, speak=False) as talker:
        recording = talker.until("ready")["transcript_id"]
        talker.say("talk", on=True)
        talker.send(question)
        talker.say("talk", on=False)
        talker.until("done")
        talker.say("stop")
        end = talker.until("end")
    assert end["transcript_id"] == recording and end["job_id"]
    assert not talker.sound and not talker.of("audio")
    deadline = time.monotonic() + 300
    while vera.get(f"/transcription/{recording}").json()["status"] != "completed":
        assert time.monotonic() < deadline
        time.sleep(0.3)
    assert "country" in vera.get(f"/transcription/{recording}").json()["text"]


def test_who_leaves_ends_the_answer(platform: Platform, vera: httpx.Client) -> None:
    question = spoken(vera, "Tell me a very long story about my country, with many chapters.")
    with talking(platform, vera, mode="push", include_context=False) as talker:
        talker.until("ready")
        talker.say("talk", on=True)
        talker.send(question)
        talker.say("talk", on=False)
        conversation_id = talker.until("thinking")["conversation_id"]
        talker.until("token")
    deadline = time.monotonic() + 60
    while (kept := messages(vera, conversation_id))[-1]["role"] != "assistant" or kept[-1]["status"] == "streaming":
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert kept[-1]["status"] == "cancelled", "the model was told to stop"


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer x"}, {"X-User-Id": "usr_1"}])
def test_nobody_else_comes_in(platform: Platform, headers: dict[str, str]) -> None:
    with pytest.raises(InvalidStatus) as refused:
        connect(platform.url.replace("http", "ws") + "/voice", additional_headers=headers)
    assert refused.value.response.status_code == 401


@pytest.mark.parametrize("scopes", [["memory"], ["chat"], ["chat", "recordings"], ["speech", "recordings"]])
def test_a_token_needs_all_that_a_chat_is_made_of(platform: Platform, vera: httpx.Client, scopes: list[str]) -> None:
    token = vera.post("/auth/tokens", json={"name": "x", "scopes": scopes}).json()["token"]
    with pytest.raises(InvalidStatus) as refused:
        connect(platform.url.replace("http", "ws") + "/voice", additional_headers={"Authorization": f"Bearer {token}"})
    assert refused.value.response.status_code == 403


def test_a_ticket_is_good_once(platform: Platform, vera: httpx.Client) -> None:
    ticket = vera.post("/auth/ticket").json()["ticket"]
    url = platform.url.replace("http", "ws") + f"/voice?ticket={ticket}"
    with connect(url) as socket:
        talker = Talker(socket)
        talker.say("start", speak=False)
        talker.until("ready")
    with pytest.raises(InvalidStatus) as refused:
        connect(url)
    assert refused.value.response.status_code == 401


def closed_with(talker: Talker) -> int:
    with pytest.raises(ConnectionClosed) as closed:
        talker.until("never", 90)
    assert closed.value.rcvd is not None
    return int(closed.value.rcvd.code)


def test_signing_out_ends_it(platform: Platform) -> None:
    http = platform.client("voice-leaver")
    with talking(platform, http, speak=False) as talker:
        talker.until("ready")
        http.post("/auth/logout").raise_for_status()
        assert closed_with(talker) == 4401


def test_another_users_conversation_is_as_absent_as_none(platform: Platform, vera: httpx.Client) -> None:
    conversation = vera.post("/gemma/chat", json={"message": "Mine?", "max_tokens": 1}, timeout=300).json()
    stranger = platform.client("voice-stranger")
    told = []
    for conversation_id in (conversation["conversation_id"], "cnv_01J00000000000000000000000"):
        with talking(platform, stranger, conversation_id=conversation_id) as talker:
            told.append(talker.until("error"))
            assert closed_with(talker) == 4400
    assert told[0] == told[1] and told[0]["code"] == "not_found"


def test_a_locked_vault_refuses_and_ends_a_chat(platform: Platform) -> None:
    http = platform.client("voice-sealed")
    http.post("/vault/seal", json={"password": "a long enough pass phrase"}).raise_for_status()
    with talking(platform, http, speak=False) as talker:
        talker.until("ready")
        http.post("/vault/lock").raise_for_status()
        assert talker.until("error")["code"] == "vault_locked"
        assert closed_with(talker) == 4423
    with talking(platform, http, speak=False) as talker:
        assert talker.until("error")["code"] == "vault_locked"
        assert closed_with(talker) == 4423


def test_the_chat_outlives_its_services(platform: Platform, vera: httpx.Client, question: bytes) -> None:
    with talking(platform, vera, mode="push") as talker:
        talker.until("ready")
        platform.kill_service("transcription")
        assert talker.until("error")["code"] == "not_heard"
        platform.wait_ready()
        time.sleep(2.1)  # so often a lost stream is opened again
        platform.kill_service("tts")
        talker.say("talk", on=True)
        talker.send(question)
        talker.say("talk", on=False)
        assert talker.until("warning")["code"] == "heard_again"
        done = talker.until("done")
        assert talker.of("token") and done["message_id"]
        platform.wait_ready()


def test_a_real_recording_asks_too(platform: Platform, vera: httpx.Client) -> None:
    samples, rate_hz = soundfile.read(AUDIO / "jfk.flac", dtype="int16")
    pcm = samples.reshape(len(samples), -1)[:, 0].tobytes()
    with talking(platform, vera, mode="hands_free", sample_rate_hz=rate_hz, speak=False) as talker:
        talker.until("ready")
        talker.send(pcm)
        talker.say("flush")
        asked = talker.until(lambda got: isinstance(got, dict) and got.get("final") is True)
        assert "fellow americans" in asked["text"].lower()
        talker.until("done")
