"""HTTP of the emotion service with the real model; only the speech recogniser is told what to hear."""

from __future__ import annotations

import asyncio
import json
import logging
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from starlette.formparsers import MultiPartParser

from services.emotion import routes
from services.emotion.app import create_app
from services.emotion.engines.onnx_minilm import OnnxMiniLM
from services.emotion.settings import Settings
from shared.auth.service_tokens import trust_for_tests
from shared.errors import UpstreamUnavailable
from shared.schemas.emotion import LABELS
from shared.schemas.transcription import Segment
from tests.unit.emotion.conftest import USER, Heard, serving, silence, tone, wav

HAPPY = "I am so happy today!"
JSON = {"Content-Type": "application/json"}


def require_problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["code"] == code
    return body


async def test_a_text(service: httpx.AsyncClient) -> None:
    answer = await service.post("/emotion/analyze", json={"text": HAPPY})
    body = answer.json()
    assert answer.status_code == 200
    assert body["text"] == HAPPY
    assert body["audio_metrics"] is None
    assert body["segments"] == []
    assert body["emotions"][0]["label"] == "joy"
    assert sorted(each["label"] for each in body["emotions"]) == sorted(LABELS)
    assert sum(each["score"] for each in body["emotions"]) == pytest.approx(1)


async def test_a_batch_keeps_its_order(service: httpx.AsyncClient) -> None:
    texts = [HAPPY, "I am terrified of what might happen tonight.", " "] * 10
    body = (await service.post("/emotion/batch", json={"texts": texts})).json()
    assert [each["text"] for each in body["results"]] == texts
    assert [each["emotions"][0]["label"] for each in body["results"][:2]] == ["joy", "fear"]
    assert body["model"] == "minilm-goemotions-int8"


async def test_a_text_alone_and_in_a_batch_are_the_same(service: httpx.AsyncClient) -> None:
    alone = (await service.post("/emotion/analyze", json={"text": HAPPY})).json()
    batch = (await service.post("/emotion/batch", json={"texts": ["I hate this.", HAPPY]})).json()
    assert batch["results"][1] == alone


async def test_a_file(service: httpx.AsyncClient, heard: Heard) -> None:
    heard.say("The meeting is on Tuesday.", " ", "I am so happy about it!")
    sound = wav(tone(150, 2))
    body = (await service.post("/emotion/analyze", files={"file": ("talk.wav", sound, "audio/wav")})).json()
    assert [each["text"] for each in body["segments"]] == ["The meeting is on Tuesday.", "I am so happy about it!"]
    assert [each["emotions"][0]["label"] for each in body["segments"]] == ["neutral", "joy"]
    assert body["audio_metrics"]["pitch_mean_hz"] == pytest.approx(150, abs=1)
    assert body["audio_metrics"]["duration_s"] == 2
    assert body["audio_metrics"]["speaking_rate_wpm"] == pytest.approx(11 * 30, rel=0.02)
    user, size = heard.asked[0]
    assert user is not None
    assert (user.user_id, size) == (USER, len(sound))


async def test_a_file_without_speech(service: httpx.AsyncClient) -> None:
    body = (await service.post("/emotion/analyze", files={"file": wav(silence(1))})).json()
    assert (body["text"], body["segments"], len(body["emotions"])) == ("", [], 7)
    assert body["audio_metrics"]["pause_ratio"] == 1
    assert body["audio_metrics"]["pitch_mean_hz"] is None


@pytest.mark.parametrize(
    ("body", "status", "code", "pointer"),
    [
        (b"{", 400, "bad_request", None),
        (b"", 400, "bad_request", None),
        (b"\xff\xfe", 400, "bad_request", None),
        (b'{"text": "\\ud800"}', 400, "bad_request", None),
        (b"[" * 5_000, 400, "bad_request", None),
        (b"[]", 422, "invalid", "/"),
        (b"{}", 422, "invalid", "/text"),
        (b'{"text": ""}', 422, "invalid", "/text"),
        (b'{"text": null}', 422, "invalid", "/text"),
        (b'{"text": 7}', 422, "invalid", "/text"),
        (b'{"text": "a", "texts": []}', 422, "invalid", "/texts"),
        (json.dumps({"text": "a" * 20_001}).encode(), 422, "invalid", "/text"),
    ],
)
async def test_a_bad_text(service: httpx.AsyncClient, body: bytes, status: int, code: str, pointer: str | None) -> None:
    problem = require_problem(await service.post("/emotion/analyze", content=body, headers=JSON), status, code)
    if pointer:
        assert [each["pointer"] for each in problem["errors"]] == [pointer]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"texts": []}, "/texts"),
        ({"texts": ["a"] * 257}, "/texts"),
        ({"texts": ["a", ""]}, "/texts/1"),
        ({"texts": ["a" * 20_001]}, "/texts/0"),
        ({"texts": "a"}, "/texts"),
        ({"texts": [["a"]]}, "/texts/0"),
        ({}, "/texts"),
    ],
)
async def test_a_bad_batch(service: httpx.AsyncClient, body: Any, pointer: str) -> None:
    problem = require_problem(await service.post("/emotion/batch", json=body), 422, "invalid")
    assert [each["pointer"] for each in problem["errors"]] == [pointer]


async def test_half_a_character_in_a_batch(service: httpx.AsyncClient) -> None:
    answer = await service.post("/emotion/batch", content=b'{"texts": ["\\ud800"]}', headers=JSON)
    require_problem(answer, 422, "invalid")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/xml", "json", ""])
async def test_another_kind_of_content(service: httpx.AsyncClient, kind: str) -> None:
    answer = await service.post("/emotion/analyze", content=b"text=a", headers={"Content-Type": kind})
    require_problem(answer, 415, "unsupported_media")


@pytest.mark.parametrize("data", [b"", b"hello " * 100, wav(tone(150, 1))[:30], b"RIFF\xff\xff\xff\xffWAVEfmt "])
async def test_a_file_that_is_no_sound(service: httpx.AsyncClient, heard: Heard, data: bytes) -> None:
    require_problem(await service.post("/emotion/analyze", files={"file": data}), 422, "audio_unreadable")
    assert heard.asked == []


async def test_a_file_that_is_too_long(service: httpx.AsyncClient) -> None:
    low = wav(silence(4), rate_hz=16_000)
    require_problem(await service.post("/emotion/analyze", files={"file": low}), 422, "audio_too_long")


@pytest.mark.parametrize("size", [200_001, 300_000])
async def test_a_file_that_is_too_large(service: httpx.AsyncClient, size: int) -> None:
    """Little beyond the limit is found in the form, much beyond it before the form is read."""
    require_problem(await service.post("/emotion/analyze", files={"file": b"\0" * size}), 413, "too_large")


async def test_a_body_that_does_not_say_how_long_it_is(service: httpx.AsyncClient) -> None:
    async def endless() -> Any:
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        for _ in range(100):
            yield b"\0" * 10_000

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    require_problem(await service.post("/emotion/analyze", content=endless(), headers=headers), 413, "too_large")


@pytest.mark.parametrize(
    ("content_type", "body", "status", "code"),
    [
        ("multipart/form-data", b"x", 400, "bad_request"),
        ("multipart/form-data; boundary=b", b"", 422, "invalid"),
        ("multipart/form-data; boundary=b", b"no boundary here", 400, "bad_request"),
        ("multipart/form-data; boundary=b", b"--b\r\n\r\nx\r\n--b--\r\n", 400, "bad_request"),
        ("multipart/form-data; boundary=b; charset=klingon", b"--b--\r\n", 422, "invalid"),
        ("multipart/form-data; boundary=" + "b" * 300, b"x", 400, "bad_request"),
    ],
)
async def test_a_broken_form(
    service: httpx.AsyncClient, content_type: str, body: bytes, status: int, code: str
) -> None:
    answer = await service.post("/emotion/analyze", content=body, headers={"Content-Type": content_type})
    require_problem(answer, status, code)


async def test_a_form_without_its_file(service: httpx.AsyncClient) -> None:
    answer = await service.post("/emotion/analyze", files={"photo": b"x"})
    assert require_problem(answer, 422, "invalid")["errors"][0]["pointer"] == "/file"
    require_problem(await service.post("/emotion/analyze", files={"file": (None, b"a word")}), 422, "invalid")


async def test_one_file_at_a_time(service: httpx.AsyncClient) -> None:
    sound = wav(tone(150, 1))
    answer = await service.post("/emotion/analyze", files=[("file", ("a", sound)), ("file", ("b", sound))])
    require_problem(answer, 400, "bad_request")


def form_of(name: str, head: bytes, data: bytes) -> list[bytes]:
    begin = b'--x\r\nContent-Disposition: form-data; name="%s"; filename="f"\r\n\r\n' % name.encode()
    return [head + begin, data, b"\r\n--x--\r\n"]


@pytest.mark.parametrize(("path", "name"), [("/emotion/analyze", "file"), ("/emotion/measure", "pcm")])
async def test_so_many_bodies_are_read_at_once(
    service: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, path: str, name: str
) -> None:
    feelings = service._transport.app.state.feelings  # type: ignore[attr-defined]
    monkeypatch.setattr(feelings, "files", asyncio.Semaphore(1))
    monkeypatch.setattr(feelings, "measurements", asyncio.Semaphore(1))
    told = b'--x\r\nContent-Disposition: form-data; name="spans"\r\n\r\n[{"start_s": 0, "end_s": 1, "words": 2}]\r\n'
    spans = told if name == "pcm" else b""
    begun, go = list[int](), asyncio.Event()

    async def body(number: int) -> AsyncIterator[bytes]:
        begun.append(number)
        await go.wait()
        for piece in form_of(name, spans, wav(tone(200, 1))):
            yield piece

    async def send(number: int) -> int:
        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        return (await service.post(path, content=body(number), headers=headers)).status_code

    sending = [asyncio.create_task(send(number)) for number in range(2)]
    while not begun:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)
    assert len(begun) == 1
    go.set()
    assert await asyncio.gather(*sending) == [200, 200] and len(begun) == 2


async def test_a_body_that_is_too_slow_gives_its_place_back(
    service: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "BODY_S", 0.1)

    async def body() -> AsyncIterator[bytes]:
        yield b"--x"
        await asyncio.sleep(30)

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = await service.post("/emotion/analyze", content=body(), headers=headers)
    assert require_problem(answer, 400, "bad_request")["detail"].startswith("The body did not come")


async def test_a_dead_recogniser_is_named(service: httpx.AsyncClient, heard: Heard) -> None:
    heard.error = UpstreamUnavailable("The transcription service does not answer; try again in a moment.")
    answer = await service.post("/emotion/analyze", files={"file": wav(tone(150, 1))})
    assert "transcription" in require_problem(answer, 502, "upstream_unavailable")["detail"]


async def test_without_a_recogniser_texts_still_work(minilm: OnnxMiniLM) -> None:
    async with serving(create_app(Settings(), engine=minilm)) as client:
        assert (await client.post("/emotion/analyze", json={"text": HAPPY})).status_code == 200
        answer = await client.post("/emotion/analyze", files={"file": wav(tone(150, 1))})
        require_problem(answer, 502, "upstream_unavailable")


def measuring(sound: bytes, spans: Any) -> dict[str, Any]:
    field = spans if isinstance(spans, str) else json.dumps(spans)
    return {"files": {"pcm": ("pcm", sound, "application/octet-stream")}, "data": {"spans": field}}


def pcm(sound: Any) -> bytes:
    return wav(sound)[44:]


async def test_spans_are_measured_in_their_order(service: httpx.AsyncClient) -> None:
    sound = pcm(np.concatenate([tone(220, 2), silence(1), tone(110, 2)]))
    spans = [{"start_s": 3, "end_s": 5, "words": 5}, {"start_s": 0, "end_s": 2}, {"start_s": 2, "end_s": 3}]
    answer = await service.post("/emotion/measure", **measuring(sound, spans))
    found = answer.json()["metrics"]
    assert [each["pitch_mean_hz"] for each in found] == [pytest.approx(110, abs=1), pytest.approx(220, abs=1), None]
    assert [each["speaking_rate_wpm"] for each in found] == [pytest.approx(150, rel=0.02), None, None]
    assert [each["arousal"] for each in found] == [None] * 3


@pytest.mark.parametrize(
    ("sound", "spans", "code", "pointer"),
    [
        (b"", [{"start_s": 0, "end_s": 1}], "audio_unreadable", None),
        (b"odd", [{"start_s": 0, "end_s": 1}], "audio_unreadable", None),
        (bytes(300 * 32_000 + 2), [{"start_s": 0, "end_s": 1}], "audio_too_long", None),
        (bytes(32_000), [], "invalid", "/spans"),
        (bytes(32_000), "[", "invalid", "/spans"),
        (bytes(32_000), "[" * 10_000, "invalid", "/spans"),
        (bytes(32_000), [{"start_s": 2, "end_s": 1}], "invalid", "/spans/0"),
        (bytes(32_000), [{"start_s": -1, "end_s": 1}], "invalid", "/spans/0/start_s"),
        (bytes(32_000), '[{"start_s": 0, "end_s": NaN}]', "invalid", "/spans/0/end_s"),
        (bytes(32_000), [{"start_s": 0, "end_s": 1, "word": 3}], "invalid", "/spans/0/word"),
        (bytes(32_000), [{"start_s": 0, "end_s": 1}] * 2_001, "invalid", "/spans"),
        (bytes(32_000), [{"start_s": 0, "end_s": 300}] * 5, "invalid", "/spans"),
    ],
)
async def test_what_cannot_be_measured(
    service: httpx.AsyncClient, sound: bytes, spans: Any, code: str, pointer: str | None
) -> None:
    problem = require_problem(await service.post("/emotion/measure", **measuring(sound, spans)), 422, code)
    if pointer:
        assert problem["errors"][0]["pointer"] == pointer


async def test_a_measurement_without_its_parts(service: httpx.AsyncClient) -> None:
    alone = {"files": {"pcm": b"ab"}}
    assert require_problem(await service.post("/emotion/measure", **alone), 422, "invalid")["errors"] == [
        {"pointer": "/spans", "detail": "required"}
    ]
    answer = await service.post("/emotion/measure", files={"spans": (None, "[]"), "other": (None, "x")})
    assert require_problem(answer, 422, "invalid")["errors"][0]["pointer"] == "/pcm"
    answer = await service.post("/emotion/measure", json={"spans": []})
    assert answer.status_code in (400, 422)


async def test_more_than_any_measurement_needs_is_refused_unread(service: httpx.AsyncClient) -> None:
    answer = await service.post("/emotion/measure", **measuring(bytes(11 * 1024**2), "[]"))
    require_problem(answer, 413, "too_large")


async def test_measured_sound_never_touches_the_disk(
    minilm: OnnxMiniLM, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    async with serving(create_app(Settings(), engine=minilm)) as client:
        spans = [{"start_s": 0, "end_s": 0.5}] * 2_000
        answer = await client.post("/emotion/measure", **measuring(bytes(4 * 1024**2), spans))
        assert len(answer.json()["metrics"]) == 2_000


def metrics(**changes: float) -> dict[str, float]:
    return {"rms_db": -25, "pitch_mean_hz": 120, "pitch_std_hz": 18, "speaking_rate_wpm": 160} | changes


async def test_speech_is_read_and_heard(service: httpx.AsyncClient) -> None:
    said = [{"text": "The meeting is on Tuesday at four.", "speaker": "A", "metrics": metrics()} for _ in range(10)]
    shouted = metrics(rms_db=-12, pitch_mean_hz=190, pitch_std_hz=40, speaking_rate_wpm=230)
    said[4] = {"text": "I am furious, how dare they lie to me!", "speaker": "A", "metrics": shouted}
    body = (await service.post("/emotion/speech", json={"segments": said})).json()
    labels = [each["label"] for each in body["emotions"]]
    assert labels == ["neutral"] * 4 + ["anger"] + ["neutral"] * 5
    assert body["emotions"][4]["agreement"] > 0.8
    assert body["emotions"][4]["metrics"] == shouted | {"pause_ratio": 0, "arousal": pytest.approx(0.95, abs=0.05)}
    assert body["emotions"][0]["metrics"]["arousal"] == 0.5
    assert body["model"] == "minilm-goemotions-int8"


async def test_speech_without_metrics_is_what_the_words_say(service: httpx.AsyncClient) -> None:
    texts = [HAPPY, "", "I am terrified of what might happen tonight."] * 4
    segments = [{"text": text, "speaker": "A"} for text in texts]
    found = (await service.post("/emotion/speech", json={"segments": segments})).json()["emotions"]
    written = (await service.post("/emotion/batch", json={"texts": [text or " " for text in texts]})).json()["results"]
    assert [(each["label"], each["score"]) for each in found] == [
        (each["emotions"][0]["label"], each["emotions"][0]["score"]) for each in written
    ]
    assert {each["agreement"] for each in found} == {None}
    assert found[1]["confidence"] == 0


@pytest.mark.parametrize(
    ("segments", "pointer"),
    [
        ([], "/segments"),
        ([{"text": "a", "speaker": ""}], "/segments/0/speaker"),
        ([{"text": "a" * 20_001, "speaker": "A"}], "/segments/0/text"),
        ([{"text": "a", "speaker": "A", "metrics": {}}], "/segments/0/metrics/rms_db"),
        ([{"text": "a", "speaker": "A"}] * 10_001, "/segments"),
        ([{"text": "a" * 20_000, "speaker": "A"}] * 101, "/"),
    ],
)
async def test_speech_that_is_refused(service: httpx.AsyncClient, segments: Any, pointer: str) -> None:
    problem = require_problem(await service.post("/emotion/speech", json={"segments": segments}), 422, "invalid")
    assert [each["pointer"] for each in problem["errors"]] == [pointer]


async def test_the_segments_of_a_file_were_heard_too(service: httpx.AsyncClient, heard: Heard) -> None:
    heard.segments = [
        Segment(
            segment_id=f"seg_{at}", start_s=at / 4, end_s=at / 4 + 0.25, speaker="SPEAKER_00", text=HAPPY, confidence=1
        )
        for at in range(8)
    ]
    sound = np.concatenate([tone(150, 0.25, level=0.3 if at == 5 else 0.05) for at in range(8)])
    body = (await service.post("/emotion/analyze", files={"file": wav(sound)})).json()
    levels = [each["metrics"]["arousal"] for each in body["segments"]]
    assert levels.index(max(levels)) == 5
    assert all(each["agreement"] is not None and each["confidence"] <= 1 for each in body["segments"])
    assert all(sum(score["score"] for score in each["emotions"]) == pytest.approx(1) for each in body["segments"])


@pytest.mark.parametrize("path", ["/emotion/analyze", "/emotion/batch", "/emotion/measure", "/emotion/speech"])
async def test_only_services_come_in_and_only_for_a_user(minilm: OnnxMiniLM, path: str) -> None:
    app = create_app(Settings(), engine=minilm)
    headers = trust_for_tests(app)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://emotion") as client:
            require_problem(await client.post(path, json={"text": "a"}), 401, "unauthenticated")
            wrong = {"Authorization": "Bearer a.b.c"}
            require_problem(await client.post(path, json={"text": "a"}, headers=wrong), 401, "unauthenticated")
            require_problem(await client.post(path, json={"text": "a"}, headers=headers()), 403, "forbidden")
            once = headers(user_id=USER)
            await client.post(path, json={"text": "a"}, headers=once)
            require_problem(await client.post(path, json={"text": "a"}, headers=once), 401, "unauthenticated")


async def test_what_was_said_is_in_no_log(
    service: httpx.AsyncClient, heard: Heard, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    heard.say("wombatmarker spoken")
    for _ in range(2):
        await service.post("/emotion/analyze", json={"text": "wombatmarker written"})
        await service.post("/emotion/analyze", json={"text": "wombatmarker", "wombatmarker": 1})
        await service.post("/emotion/batch", json={"texts": ["wombatmarker", 7]})
        await service.post("/emotion/speech", json={"segments": [{"text": "wombatmarker", "speaker": "wombatmarker"}]})
        await service.post("/emotion/speech", json={"segments": [{"text": "wombatmarker", "speaker": 7}]})
        await service.post("/emotion/analyze", files={"file": ("wombatmarker.wav", wav(tone(150, 1)))})
        heard.error = UpstreamUnavailable()
    logged = "".join(str(record.__dict__) for record in caplog.records)
    out, err = capfd.readouterr()
    assert "wombatmarker" not in logged + out + err


async def test_an_upload_never_touches_the_disk(
    minilm: OnnxMiniLM, heard: Heard, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Starlette's own form parser would put it there in the clear; here there is no folder to put it in."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    sound = wav(silence(100))
    assert len(sound) > MultiPartParser.spool_max_size
    async with serving(create_app(Settings(), engine=minilm, transcription=heard)) as client:  # type: ignore[arg-type]
        assert (await client.post("/emotion/analyze", files={"file": sound})).status_code == 200
