"""The emotion service over real sockets, with real service tokens, the real model and a real recogniser."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvicorn
from aiohttp import FormData
from fastapi import APIRouter, FastAPI, Request

from services.emotion.app import create_app
from services.emotion.prosody import measure_spans
from services.emotion.settings import Settings
from services.transcription.engines.faster_whisper import FasterWhisper
from services.transcription.settings import Settings as SpeechSettings
from shared.audio.decode import as_float, decode
from shared.auth.dependencies import FromService
from shared.auth.principal import Principal
from shared.auth.service_tokens import ServiceDoor, ServiceIdentity
from shared.clients.emotion import EmotionClient
from shared.errors import AudioUnreadable, Invalid, UpstreamUnavailable
from shared.multipart import MultipartBody
from shared.schemas.emotion import EmotionAnalysis, MeasureSpan, SpokenSegment
from shared.schemas.transcription import ClipTranscript
from shared.service import create_service

USER = Principal("usr_01J00000000000000000000000")
SPOKEN = "I am so happy today. I love you all. The weather is wonderful."


@asynccontextmanager
async def served(app: FastAPI, identity: ServiceIdentity, listener: socket.socket) -> AsyncIterator[None]:
    """The application behind a port, admitting calls by signed tokens."""
    app.state.identity, app.state.door = identity, ServiceDoor(identity, None)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="on"))
    running = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started:
            assert not running.done(), "the service did not start"
            await asyncio.sleep(0.02)
        yield
    finally:
        server.should_exit = True
        await running


def recogniser() -> FastAPI:
    """The clip route of the transcription service over its own engine, without its databases."""
    settings = SpeechSettings()
    if not (settings.models_dir / settings.transcription_model / "model.bin").is_file():
        pytest.skip("the speech weights are absent; `nemo models pull` brings them")
    engine, router = FasterWhisper(settings), APIRouter()

    @router.post("/transcription/clip")
    async def clip(request: Request, caller: FromService) -> ClipTranscript:
        body = MultipartBody(request.headers["content-type"], request.stream())
        sound = await decode(b"".join([chunk async for chunk in body.file("file")]))
        heard = await asyncio.to_thread(engine.transcribe, as_float(sound.mono()))
        text = " ".join(each.text for each in heard.segments)
        return ClipTranscript(
            text=text, language="en", duration_s=sound.duration_s, segments=heard.segments, model="tiny.en"
        )

    return create_service("transcription", settings, routers=[router])


@pytest.fixture
def ports() -> dict[str, socket.socket]:
    return {name: socket.create_server(("127.0.0.1", 0)) for name in ("emotion", "transcription")}


@pytest.fixture
def identities() -> dict[str, ServiceIdentity]:
    return ServiceIdentity.ephemeral()


@pytest.fixture
async def emotion(
    ports: dict[str, socket.socket], identities: dict[str, ServiceIdentity]
) -> AsyncIterator[EmotionClient]:
    """The service alone: its port for transcription is bound and nobody answers there."""
    url = {name: f"http://127.0.0.1:{port.getsockname()[1]}" for name, port in ports.items()}
    settings = Settings(emotion_url=url["emotion"], transcription_url=url["transcription"])
    async with (
        served(create_app(settings), identities["emotion"], ports["emotion"]),
        EmotionClient(settings, identities["api-gateway"]) as client,
    ):
        yield client
    ports["transcription"].close()


async def analyze_file(client: EmotionClient, data: bytes) -> EmotionAnalysis:
    form = FormData()
    form.add_field("file", data, filename="talk.wav")
    async with client.stream("POST", "/emotion/analyze", user=USER, content=form, deadline_s=120) as answer:
        return EmotionAnalysis.model_validate_json(await answer.read())


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A synthetic voice."""
    program = shutil.which("espeak-ng")
    if program is None:
        pytest.skip("espeak-ng is not installed")
    path = tmp_path_factory.mktemp("speech") / "talk.wav"
    subprocess.run([program, "-v", "en-us", "-s", "140", "-w", str(path), SPOKEN], check=True)
    return Path(path).read_bytes()


async def test_texts(emotion: EmotionClient) -> None:
    batch = await emotion.batch(USER, ["I am so happy today!", "I am terrified of what might happen tonight."])
    assert [each.emotions[0].label for each in batch.results] == ["joy", "fear"]
    assert await emotion.analyze(USER, "I am so happy today!") == batch.results[0]


async def test_errors_cross_as_themselves(emotion: EmotionClient) -> None:
    with pytest.raises(Invalid, match="/text"):
        await emotion.analyze(USER, "")
    with pytest.raises(AudioUnreadable):
        await analyze_file(emotion, b"this is no sound" * 100)


async def test_what_was_said_and_how(
    emotion: EmotionClient,
    ports: dict[str, socket.socket],
    identities: dict[str, ServiceIdentity],
    speech: bytes,
    tmp_path: Path,
) -> None:
    async with served(recogniser(), identities["transcription"], ports["transcription"]):
        found = await analyze_file(emotion, speech)
    (tmp_path / "talk.wav").write_bytes(speech)
    with wave.open(str(tmp_path / "talk.wav")) as file:
        duration_s = file.getnframes() / file.getframerate()
    assert "happy" in found.text.lower()
    assert found.emotions[0].label == "joy"
    assert found.segments
    assert all(len(each.emotions) == 7 for each in found.segments)
    metrics = found.audio_metrics
    assert metrics is not None
    assert metrics.duration_s == pytest.approx(duration_s, abs=0.1)
    assert metrics.pitch_mean_hz is not None
    assert 70 < metrics.pitch_mean_hz < 250
    assert metrics.speaking_rate_wpm is not None
    assert 100 < metrics.speaking_rate_wpm < 300


async def test_a_dead_recogniser_is_named(
    emotion: EmotionClient, ports: dict[str, socket.socket], speech: bytes
) -> None:
    ports["transcription"].close()
    with pytest.raises(UpstreamUnavailable, match="transcription"):
        await analyze_file(emotion, speech)


async def test_many_at_once_get_their_own_answers(emotion: EmotionClient) -> None:
    joy, fear = "I am so happy today!", "I am terrified of what might happen tonight."
    found = await asyncio.gather(*(emotion.analyze(USER, joy if at % 2 else fear) for at in range(40)))
    assert [each.emotions[0].label for each in found] == ["fear", "joy"] * 20


async def test_a_long_batch_lets_a_short_text_through(emotion: EmotionClient) -> None:
    """One thread serves all; a request keeps it for a few texts only."""
    long = asyncio.create_task(emotion.batch(USER, ["The meeting is on Tuesday at four. " * 200] * 24))
    await asyncio.sleep(0.05)
    short = asyncio.create_task(emotion.analyze(USER, "Hello."))
    first, _ = await asyncio.wait((long, short), return_when=asyncio.FIRST_COMPLETED)
    assert first == {short}
    assert len((await long).results) == 24


async def test_speech_is_measured_and_fused_over_the_wire(emotion: EmotionClient, speech: bytes) -> None:
    samples = (await decode(speech)).mono()
    spans = [MeasureSpan(start_s=at / 2, end_s=at / 2 + 1, words=2) for at in range(8)]
    metrics = await emotion.measure(USER, samples.astype("<i2").tobytes(), spans)
    assert metrics == measure_spans(samples, spans)
    segments = [SpokenSegment(text="I am so happy today.", speaker="A", metrics=each) for each in metrics]
    found = await emotion.speech(USER, segments)
    assert [each.label for each in found.emotions] == ["joy"] * 8
    assert all(each.metrics is not None and each.metrics.arousal is not None for each in found.emotions)
    with pytest.raises(Invalid, match="end_s"):
        await emotion.measure(USER, b"ab", [spans[0].model_copy(update={"end_s": -1.0})])
