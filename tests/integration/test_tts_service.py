"""Text to speech over real sockets, from the gateway's door to the voice's process, understood by a real recogniser."""

from __future__ import annotations

import asyncio
import importlib
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, get_args

import httpx
import jiwer
import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI
from whisper_normalizer.english import EnglishTextNormalizer

from services.transcription.engines.faster_whisper import FasterWhisper
from services.transcription.settings import Settings as SpeechSettings
from services.tts import sentences
from services.tts.app import create_app
from services.tts.engines import Sound
from services.tts.engines.espeak import Espeak
from services.tts.engines.piper import Piper
from services.tts.settings import Settings
from shared.audio.decode import as_float, decode
from shared.auth.principal import Principal
from shared.auth.service_tokens import ServiceDoor, ServiceIdentity
from shared.clients.tts import TtsClient
from shared.errors import Invalid, ModelLost, ModelNotReady, UpstreamUnavailable
from shared.schemas.tts import SpeechFormat, SpeechRequest
from tests.gateway_house import bearer, gateway, join, served, settings_for

USER = Principal("usr_01J00000000000000000000000")
SPOKEN = (
    "Please bring the report about the river, and the keys of the old house. "
    "The meeting begins in the large room behind the kitchen."
)
LONG = "The weather is wonderful today, and we are going for a walk along the river. " * 6


class Counted(Piper):
    """The real one, with a list of what it was asked for."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.asked: list[str] = []

    def speak(self, sentence: str, voice: str) -> Sound:
        self.asked.append(sentence)
        return super().speak(sentence, voice)


@pytest.fixture(scope="module")
def piper() -> Iterator[Counted]:
    try:
        engine = Counted(Settings())
    except ModelNotReady as error:
        pytest.skip(error.detail)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def recogniser() -> FasterWhisper:
    settings = SpeechSettings()
    if not (settings.models_dir / settings.transcription_model / "model.bin").is_file():
        pytest.skip("the speech weights are absent; `nemo models pull` brings them")
    return FasterWhisper(settings)


@pytest.fixture(scope="module")
def identities() -> dict[str, ServiceIdentity]:
    return ServiceIdentity.ephemeral()


@asynccontextmanager
async def listening(app: FastAPI) -> AsyncIterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="on"))
    running = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started:
            assert not running.done(), "the service did not start"
            await asyncio.sleep(0.02)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await running


class House:
    """The service and who may call it."""

    def __init__(self, app: FastAPI, url: str, client: TtsClient) -> None:
        self.app, self.url, self.client = app, url, client

    async def says(self, text: str, **more: Any) -> bytes:
        async with self.client.speech(USER, SpeechRequest(input=text, **more)) as pieces:
            return b"".join([piece async for piece in pieces])

    async def idle(self) -> None:
        """Until nobody's text is being spoken any more."""
        async with asyncio.timeout(60):
            while self.app.state.speaking._places:
                await asyncio.sleep(0.02)


@asynccontextmanager
async def house_of(engine: Any, identities: dict[str, ServiceIdentity], **changes: Any) -> AsyncIterator[House]:
    app = create_app(Settings(**changes), engine=engine)
    app.state.identity, app.state.door = identities["tts"], ServiceDoor(identities["tts"], None)
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(listening(app))
        client = TtsClient(Settings(tts_url=url), identities["api-gateway"])
        yield House(app, url, await stack.enter_async_context(client))


@pytest.fixture
async def house(piper: Counted, identities: dict[str, ServiceIdentity]) -> AsyncIterator[House]:
    piper.asked.clear()
    async with house_of(piper, identities) as found:
        yield found


async def heard(recogniser: FasterWhisper, data: bytes, form: str) -> str:
    if form == "pcm":
        samples = np.frombuffer(data, dtype="<i2").astype(np.float32) / 32768
        at = np.arange(0, len(samples), 1.5)  # 24 kHz to 16 kHz
        sound = np.interp(at, np.arange(len(samples)), samples).astype(np.float32)
    else:
        sound = as_float((await decode(data)).mono())
    found = await asyncio.to_thread(recogniser.transcribe, sound)
    return " ".join(each.text for each in found.segments)


def error_rate(said: str, understood: str) -> float:
    normal = EnglishTextNormalizer()
    return float(jiwer.wer(normal(said), normal(understood)))


@pytest.mark.parametrize("form", get_args(SpeechFormat))
async def test_what_is_spoken_is_understood(house: House, recogniser: FasterWhisper, form: SpeechFormat) -> None:
    data = await house.says(SPOKEN, response_format=form)
    assert error_rate(SPOKEN, await heard(recogniser, data, form)) <= 0.15


@pytest.mark.parametrize("speed", [0.75, 1.4])
async def test_so_it_is_when_slower_or_faster(house: House, recogniser: FasterWhisper, speed: float) -> None:
    data = await house.says(SPOKEN, response_format="wav", speed=speed)
    assert error_rate(SPOKEN, await heard(recogniser, data, "wav")) <= 0.2


async def test_espeak_is_understood_too(identities: dict[str, ServiceIdentity], recogniser: FasterWhisper) -> None:
    try:
        engine = Espeak(Settings())
    except ModelNotReady as error:
        pytest.skip(error.detail)
    async with house_of(engine, identities) as house:
        data = await house.says(SPOKEN, response_format="flac")
    assert error_rate(SPOKEN, await heard(recogniser, data, "flac")) <= 0.5


async def test_numbers_are_spoken_as_words(house: House, recogniser: FasterWhisper) -> None:
    text = "It costs 25 dollars and 50 cents."
    assert "25" in await heard(recogniser, await house.says(text, response_format="wav"), "wav")


async def test_the_first_sound_comes_before_the_rest_is_made(house: House, piper: Counted) -> None:
    async with house.client.speech(USER, SpeechRequest(input=LONG, response_format="pcm")) as pieces:
        first = await anext(pieces)
        asked = len(piper.asked)
        assert len(first) > 4_000 and asked < len(sentences.cut(LONG)) / 2
        rest = [piece async for piece in pieces]
    assert len(piper.asked) == len(sentences.cut(LONG)) and len(b"".join(rest)) > 10 * 48_000


def cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


async def test_who_goes_away_ends_the_work(house: House, piper: Counted) -> None:
    async with house.client.speech(USER, SpeechRequest(input=LONG, response_format="opus")) as pieces:
        await anext(pieces)
    await house.idle()
    asked = len(piper.asked)
    assert asked < len(sentences.cut(LONG))
    await house.says("This one is next.")  # after it, what was in hand is done
    assert piper._process is not None
    before = cpu_ticks(piper._process.pid)
    await asyncio.sleep(1)
    assert piper.asked[asked:] == ["This one is next."]
    assert cpu_ticks(piper._process.pid) - before <= 10


async def test_two_at_once_take_turns(house: House, piper: Counted) -> None:
    await asyncio.gather(house.says("A one. A two. A three."), house.says("B one. B two. B three."))
    assert [each[0] for each in piper.asked] != sorted(each[0] for each in piper.asked)


async def test_a_voice_that_dies_in_the_middle_is_replaced(house: House, piper: Counted) -> None:
    async with house.client.speech(USER, SpeechRequest(input=LONG, response_format="pcm")) as pieces:
        await anext(pieces)
        assert piper._process is not None
        piper._process._popen.kill()
        rest = [piece async for piece in pieces]
    assert len(b"".join(rest)) > 10 * 48_000


class Dying(Counted):
    """The real one until its second sentence."""

    def speak(self, sentence: str, voice: str) -> Sound:
        if len(self.asked) == 1:
            raise ModelLost
        return super().speak(sentence, voice)


async def test_an_answer_that_breaks_off_is_not_taken_for_whole(
    piper: Counted, identities: dict[str, ServiceIdentity]
) -> None:
    dying = Dying(Settings())
    try:
        async with house_of(dying, identities) as house:
            with pytest.raises(UpstreamUnavailable):
                await house.says("One. Two. Three.", response_format="wav")
            await house.idle()
    finally:
        dying.close()


async def test_who_does_not_read_loses_the_place(piper: Counted, identities: dict[str, ServiceIdentity]) -> None:
    async with house_of(piper, identities, answer_deadline_s=0.02) as house:
        with pytest.raises(UpstreamUnavailable):
            await house.says(LONG, response_format="pcm")
        await house.idle()


async def test_errors_cross_as_themselves(house: House) -> None:
    with pytest.raises(Invalid, match="no voice of this name") as raised:
        await house.says("Hello.", voice="nobody")
    assert raised.value.errors[0].pointer == "/voice"
    assert [each.id for each in (await house.client.voices(USER)).data][:1] == ["joe"]


@asynccontextmanager
async def door(house: House, identity: ServiceIdentity, folder: Path) -> AsyncIterator[str]:
    """The gateway before this service; its URL."""
    app = gateway(settings_for(folder, tts_url=house.url))
    app.state.identity = identity
    async with served(app) as url:
        yield url


@pytest.fixture
async def gateway_url(house: House, identities: dict[str, ServiceIdentity], tmp_path: Path) -> AsyncIterator[str]:
    async with door(house, identities["api-gateway"], tmp_path) as url:
        yield url


async def test_openais_own_client(gateway_url: str, recogniser: FasterWhisper) -> None:
    openai = pytest.importorskip("openai", reason="the official client is not installed")
    async with httpx.AsyncClient(base_url=gateway_url) as http:
        pair = await join(http)
    async with openai.AsyncOpenAI(base_url=f"{gateway_url}/v1", api_key=pair["access_token"], max_retries=0) as client:
        speech = client.audio.speech.with_streaming_response
        wanted = {"model": "gpt-4o-mini-tts", "voice": "coral", "input": SPOKEN, "instructions": "Cheerful."}
        async with speech.create(**wanted, response_format="wav") as answer:
            assert answer.headers["content-type"] == "audio/wav"
            data = b"".join([piece async for piece in answer.iter_bytes()])
        assert error_rate(SPOKEN, await heard(recogniser, data, "wav")) <= 0.15
        with pytest.raises(openai.BadRequestError, match="no voice of this name") as raised:
            await client.audio.speech.create(model="tts-1", voice="nobody", input="Hello.")
        assert raised.value.param == "voice"


async def test_the_gateways_door(gateway_url: str, house: House, piper: Counted) -> None:
    async with httpx.AsyncClient(base_url=gateway_url, timeout=60) as http:
        assert (await http.post("/v1/audio/speech", json={"input": "Hello."})).status_code == 401
        pair = await join(http)
        http.headers.update(bearer(pair))
        assert (await http.get("/v1/audio/voices")).json()["data"][0]["id"] == "joe"
        for wrong, field in (({"input": "x" * 4097}, "input"), ({"input": "Hello.", "voice": "nobody"}, "voice")):
            answer = await http.post("/v1/audio/speech", json=wrong)
            assert answer.status_code == 400 and answer.json()["error"]["param"] == field
        narrow = await http.post("/auth/tokens", json={"name": "n", "scopes": ["memory"]})
        refused = await http.get("/v1/audio/voices", headers={"Authorization": f"Bearer {narrow.json()['token']}"})
        assert refused.status_code == 403 and "speech" in refused.text
        async with http.stream("POST", "/v1/audio/speech", json={"input": LONG, "response_format": "pcm"}) as answer:
            assert answer.headers["content-type"] == "audio/pcm"
            await anext(answer.aiter_bytes())
            assert len(piper.asked) < len(sentences.cut(LONG))
    await house.idle()  # the client is gone, so the gateway lets go of the service and that of the voice
    assert len(piper.asked) < len(sentences.cut(LONG))


async def test_a_dead_service_is_named(identities: dict[str, ServiceIdentity]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        url = f"http://127.0.0.1:{gone.getsockname()[1]}"
    async with TtsClient(Settings(tts_url=url), identities["api-gateway"]) as client:
        with pytest.raises(UpstreamUnavailable, match="tts"):
            await client.voices(USER)


def test_the_launcher_imports_nothing_of_ours() -> None:
    """It runs isolated, before every limit: only the standard library is there."""
    launcher = Path(str(importlib.import_module("services.tts.engines.launcher").__file__)).read_text()
    assert "services" not in launcher and "shared" not in launcher
