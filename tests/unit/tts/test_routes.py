"""What the service answers, to good requests and to bad ones."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, get_args

import httpx
import numpy as np
import pytest

from services.tts.encoding import MEDIA_TYPES
from services.tts.engines import Capabilities, Sound
from services.tts.engines.fake import FakeSpeech
from shared.errors import ModelLost
from shared.schemas.tts import SpeechFormat
from tests.unit.tts.conftest import OTHER, decoded, made, serving

FORMS = get_args(SpeechFormat)


class Held(FakeSpeech):
    """Speaks when it is let, and counts what it spoke; whistles nothing where it cannot read."""

    def __init__(self) -> None:
        self.capabilities: Capabilities = made("fake").capabilities
        self.let, self.begun, self.closed = threading.Semaphore(0), threading.Semaphore(0), 0
        self.spoken: list[str] = []

    def speak(self, sentence: str, voice: str) -> Sound:
        self.begun.release()
        assert self.let.acquire(timeout=60)
        self.spoken.append(sentence)
        return super().speak(sentence, voice) if sentence.isascii() else np.zeros(0, dtype=np.int16)

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def held() -> Held:
    return Held()


@pytest.fixture
async def slow(held: Held) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(held, requests_at_once=3, requests_per_user=2, idle_unload_s=-1) as client:
        yield client
        held.let.release(1_000)


async def say(client: httpx.AsyncClient, text: Any = "Hello there.", **more: Any) -> httpx.Response:
    headers = {"Content-Type": "application/json"} | ({"x-as": more.pop("user")} if "user" in more else {})
    body = {"model": "tts-1", "voice": "alloy", "input": text} | more
    return await client.post("/speaking/speech", content=json.dumps(body), headers=headers)


@pytest.mark.parametrize("form", FORMS)
async def test_every_format(service: httpx.AsyncClient, form: SpeechFormat) -> None:
    answer = await say(service, "Hello there. How are you?", response_format=form)
    assert answer.status_code == 200 and answer.headers["content-type"] == MEDIA_TYPES[form]
    sound, rate_hz = decoded(answer.content, form)
    assert len(sound) / rate_hz == pytest.approx(0.06 * 24 + 0.15, abs=0.15)


async def test_mp3_and_the_natural_speed_are_the_defaults(service: httpx.AsyncClient) -> None:
    answer = await service.post("/speaking/speech", json={"input": "Hello there."})
    assert answer.headers["content-type"] == "audio/mpeg"
    assert len(decoded(answer.content, "mp3")[0]) / 24_000 == pytest.approx(0.72, abs=0.15)


async def test_speed(service: httpx.AsyncClient) -> None:
    lengths = [
        len(decoded((await say(service, "Hello there. " * 5, response_format="pcm", speed=speed)).content, "pcm")[0])
        for speed in (0.5, 1, 2)
    ]
    assert lengths[0] / lengths[1] == pytest.approx(2, rel=0.05) == lengths[1] / lengths[2]


async def test_openais_events(service: httpx.AsyncClient) -> None:
    answer = await say(service, "One. Two. Three.", response_format="pcm", stream_format="sse")
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [json.loads(line.removeprefix("data: ")) for line in answer.text.split("\n\n") if line]
    assert [each["type"] for each in events[:-1]] == ["speech.audio.delta"] * (len(events) - 1) and len(events) >= 4
    assert events[-1] == {
        "type": "speech.audio.done", "usage": {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
    }  # fmt: skip
    data = b"".join(base64.b64decode(each["audio"]) for each in events[:-1])
    assert data == (await say(service, "One. Two. Three.", response_format="pcm")).content


async def test_events_that_break_off_say_why() -> None:
    class Failing(Held):
        def speak(self, sentence: str, voice: str) -> Sound:
            if self.spoken:
                raise ModelLost if "lost" in sentence else RuntimeError("the engine's own words")
            self.let.release()
            return super().speak(sentence, voice)

    for text, code in (("One. It is lost.", "model_lost"), ("One. It is broken.", None)):
        async with serving(Failing()) as client:
            answer = await say(client, text, response_format="pcm", stream_format="sse")
        events = [json.loads(line.removeprefix("data: ")) for line in answer.text.split("\n\n") if line]
        assert events[0]["type"] == "speech.audio.delta" and events[-1]["error"]["code"] == code
        assert events[-1]["error"]["type"] == "server_error" and "own words" not in answer.text


async def test_the_voices(service: httpx.AsyncClient) -> None:
    (voice,) = (await service.get("/speaking/voices")).json()["data"]
    assert voice == {"id": "tone", "name": "Tone", "language": "en-us", "engine": "fake", "sample_rate_hz": 22050}
    assert (await say(service, voice="tone")).status_code == 200


async def test_the_default_voice_can_be_chosen() -> None:
    async with serving(made("espeak"), voice="de") as client:
        assert (await client.get("/speaking/voices")).json()["data"][0]["id"] == "de"


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"input": ""}, "/input"),
        ({"input": "x" * 4097}, "/input"),
        ({"input": None}, "/input"),
        ({"input": 12}, "/input"),
        ({"input": ["a"]}, "/input"),
        ({"input": " \n\t"}, "/input"),
        ({"input": "👋 🎉"}, "/input"),
        ({"input": "\x00\x01\u202e"}, "/input"),
        ({"input": "...!?"}, "/input"),
        ({"input": "\ud800"}, "/input"),
        ({"voice": "nobody"}, "/voice"),
        ({"voice": "../../etc/passwd"}, "/voice"),
        ({"voice": ""}, "/voice"),
        ({"voice": "v" * 65}, "/voice"),
        ({"response_format": "aac"}, "/response_format"),
        ({"response_format": "exe"}, "/response_format"),
        ({"speed": 0.24}, "/speed"),
        ({"speed": 4.1}, "/speed"),
        ({"speed": float("nan")}, "/speed"),
        ({"speed": float("inf")}, "/speed"),
        ({"stream_format": "ws"}, "/stream_format"),
        ({"model": ""}, "/model"),
        ({"loudness": 3}, "/loudness"),
    ],
)
async def test_what_is_wrong_is_named(service: httpx.AsyncClient, wrong: dict[str, Any], field: str) -> None:
    answer = await say(service, **({"text": wrong["input"]} if "input" in wrong else wrong))
    assert answer.status_code == 422, answer.text
    problem = answer.json()
    assert problem["code"] == "invalid" and [each["pointer"] for each in problem["errors"]] == [field]


@pytest.mark.parametrize(
    "text", ["1234567890 3.14 $5 10:30", "Hi 👋🏽 you", "a\x00b\x1b[31m", "x" * 4096, "naïve Ü 猫", "A. " * 1365]
)
async def test_what_is_odd_is_spoken(service: httpx.AsyncClient, text: str) -> None:
    answer = await say(service, text, response_format="opus")
    assert answer.status_code == 200 and len(decoded(answer.content, "opus")[0]) > 4_000


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"\xff\xfe", b"{" * 5_000])
async def test_no_json_is_refused(service: httpx.AsyncClient, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await service.post("/speaking/speech", content=body, headers=headers)
    assert answer.status_code in (400, 422) and answer.json()["code"] in ("bad_request", "invalid")


async def test_a_body_beyond_the_limit_is_refused(service: httpx.AsyncClient) -> None:
    answer = await say(service, instructions="x" * 200_000)
    assert answer.status_code == 413


async def test_a_script_that_the_voice_cannot_read_is_named(slow: httpx.AsyncClient, held: Held) -> None:
    held.let.release(2)
    answer = await say(slow, "猫。犬。")
    assert answer.status_code == 422 and answer.json()["errors"][0]["pointer"] == "/input"
    assert held.spoken == ["猫。", "犬。"]


async def taken(client: httpx.AsyncClient, places: int) -> None:
    """Until so many requests are being spoken."""
    speaking = client._transport.app.state.speaking  # type: ignore[attr-defined]
    while speaking._places.total() != places:
        await asyncio.sleep(0.01)


async def test_places_are_limited_for_each_user_and_for_all(slow: httpx.AsyncClient, held: Held) -> None:
    running = [asyncio.create_task(say(slow)) for _ in range(2)]
    await taken(slow, 2)
    refused = await say(slow)
    assert refused.status_code == 503 and "one user" in refused.json()["detail"]
    running.append(asyncio.create_task(say(slow, user=OTHER)))
    await taken(slow, 3)
    full = await say(slow, user="usr_01J00000000000000000000002")
    assert full.status_code == 503 and full.headers["retry-after"] == "5" and full.json()["code"] == "busy"
    held.let.release(3)
    assert [(await each).status_code for each in running] == [200, 200, 200]
    await taken(slow, 0)


async def test_requests_take_turns_by_their_sentences(slow: httpx.AsyncClient, held: Held) -> None:
    first = asyncio.create_task(say(slow, "A one. A two. A three."))
    await asyncio.to_thread(held.begun.acquire, timeout=30)
    second = asyncio.create_task(say(slow, "B one. B two.", user=OTHER))
    await taken(slow, 2)
    held.let.release(5)
    assert (await first).status_code == (await second).status_code == 200
    assert held.spoken.index("B one.") < held.spoken.index("A three.")


async def test_a_place_is_free_again_when_the_work_failed() -> None:
    class Broken(Held):
        def speak(self, sentence: str, voice: str) -> Sound:
            raise RuntimeError("the engine's own words")

    async with serving(Broken(), requests_at_once=1) as client:
        for _ in range(3):
            answer = await say(client)
            assert answer.status_code == 500 and "own words" not in answer.text


async def test_the_voice_leaves_memory_after_a_quiet_time(held: Held) -> None:
    async with serving(held, idle_unload_s=0) as client:
        held.let.release(1)
        await say(client)
        deadline = asyncio.get_running_loop().time() + 60
        while not held.closed:
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.05)


async def test_without_any_voice_it_starts_and_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    async with serving(None, models_dir=tmp_path) as client:
        assert (await client.get("/live")).status_code == 200
        for answer in (await say(client), await client.get("/speaking/voices")):
            assert answer.status_code == 503 and answer.json()["code"] == "model_not_ready"
            assert "espeak-ng" in answer.json()["detail"] and answer.headers["retry-after"] == "60"
        monkeypatch.undo()
        made("espeak")
        assert (await say(client, voice="en-us")).status_code == 200  # installed meanwhile
