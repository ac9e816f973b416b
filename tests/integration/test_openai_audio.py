"""OpenAI's official client against the gateway on a real socket, the real services and the real model behind it."""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from openai import AsyncOpenAI

from shared.auth.service_tokens import ServiceIdentity
from shared.settings import ServiceSettings
from tests.gateway_house import bearer, gateway, join, served, settings_for
from tests.integration.transcription_house import JFK, SENSE, House, house, spoken, wav

__all__ = ["house"]
MODEL = "faster-whisper-tiny.en"
ASK = "ask not what your country can do for you ask what you can do for your country"


@dataclass
class Door:
    """The gateway, and somebody with a personal token to it."""

    url: str
    headers: dict[str, str]
    key: str

    def client(self, key: str | None = None) -> AsyncOpenAI:
        return AsyncOpenAI(base_url=f"{self.url}/v1", api_key=key or self.key, max_retries=0, timeout=120)


@pytest.fixture
async def door(house: House, tmp_path: Path) -> AsyncIterator[Door]:
    urls = {f"{name.replace('-', '_')}_url": house.url(name) for name in house.ports}
    app = gateway(settings_for(tmp_path, **urls))
    app.state.identity = ServiceIdentity.from_settings("api-gateway", ServiceSettings(data_dir=house.folder))
    async with served(app) as url, httpx.AsyncClient(base_url=url) as http:
        headers = bearer(await join(http))
        token = await http.post("/auth/tokens", json={"name": "key", "scopes": ["recordings"]}, headers=headers)
        yield Door(url, headers, token.json()["token"])


def plain(text: str) -> str:
    return re.sub(r"[^a-z ]", "", text.lower())


async def test_json_with_a_personal_token_as_key(door: Door) -> None:
    async with door.client() as client:
        answer = await client.audio.transcriptions.create(file=JFK, model="whisper-1", include=["logprobs"])
    assert ASK in plain(answer.text)
    assert answer.usage is not None and answer.usage.type == "duration" and answer.usage.seconds == 11
    assert answer.logprobs and all(each.logprob is not None and each.logprob <= 0 for each in answer.logprobs)
    assert bytes(int(b) for b in answer.logprobs[0].bytes or ()).decode() == answer.logprobs[0].token


async def test_text_srt_and_vtt(door: Door) -> None:
    async with door.client() as client:
        text = await client.audio.transcriptions.create(file=JFK, model=MODEL, response_format="text")
        srt = await client.audio.transcriptions.create(file=JFK, model=MODEL, response_format="srt")
        vtt = await client.audio.transcriptions.create(file=JFK, model=MODEL, response_format="vtt")
    assert ASK in plain(text) and text.endswith("\n")
    assert re.match(r"1\n00:00:0\d,\d{3} --> 00:00:\d\d,\d{3}\n\w", srt)
    assert re.match(r"WEBVTT\n\n00:00:0\d\.\d{3} --> 00:00:\d\d\.\d{3}\n\w", vtt)
    assert "SPEAKER" not in srt + vtt


async def test_verbose_json_with_words_and_segments(door: Door) -> None:
    async with door.client() as client:
        answer = await client.audio.transcriptions.create(
            file=JFK, model=MODEL, response_format="verbose_json", timestamp_granularities=["word", "segment"]
        )
    assert (answer.language, answer.duration) == ("english", pytest.approx(11, abs=0.01))
    assert answer.words and answer.segments
    assert plain(" ".join(each.word for each in answer.words)).split() == plain(answer.text).split()
    assert all(0 <= word.start <= word.end <= 11.01 for word in answer.words)
    for at, segment in enumerate(answer.segments):
        assert (segment.id, segment.tokens, segment.no_speech_prob) == (at, [], 0.0)
        assert segment.avg_logprob <= 0 < segment.compression_ratio and segment.start < segment.end
    assert "".join(each.text for each in answer.segments).strip() == answer.text


async def test_one_granularity_leaves_the_other_out(door: Door) -> None:
    async with door.client() as client:
        words = await client.audio.transcriptions.create(
            file=SENSE, model=MODEL, response_format="verbose_json", timestamp_granularities=["word"]
        )
        segments = await client.audio.transcriptions.create(file=SENSE, model=MODEL, response_format="verbose_json")
    assert words.words and words.segments is None
    assert segments.segments and segments.words is None


async def test_speakers_are_letters(door: Door) -> None:
    async with door.client() as client:
        answer = await client.audio.transcriptions.create(
            file=JFK, model="gpt-4o-transcribe-diarize", response_format="diarized_json", chunking_strategy="auto"
        )
    assert answer.task == "transcribe" and ASK in plain(answer.text)
    assert {each.speaker for each in answer.segments} == {"A"}
    assert " ".join(each.text for each in answer.segments) == answer.text


async def test_two_voices_on_two_channels_are_two_speakers(door: Door) -> None:
    voice = spoken()
    stereo = np.zeros((2 * len(voice), 2), dtype=np.int16)
    stereo[: len(voice), 0], stereo[len(voice) :, 1] = voice, voice
    async with door.client() as client:
        answer = await client.audio.transcriptions.create(
            file=("call.wav", wav(stereo)), model=MODEL, response_format="diarized_json"
        )
    assert [each.speaker for each in answer.segments] == sorted(each.speaker for each in answer.segments)
    assert {each.speaker for each in answer.segments} == {"A", "B"}


async def test_a_stream_tells_the_text_as_it_comes(door: Door) -> None:
    long = np.concatenate([spoken()] * 5)
    async with door.client() as client:
        events = [
            event
            async for event in await client.audio.transcriptions.create(
                file=("long.wav", wav(long)), model=MODEL, stream=True
            )
        ]
    deltas = [event.delta for event in events if event.type == "transcript.text.delta"]
    assert len(deltas) >= 2 and events[-1].type == "transcript.text.done"
    assert "".join(deltas) == events[-1].text
    assert plain(events[-1].text).count("leisure to consider") >= 4


async def test_a_stream_with_speakers(door: Door) -> None:
    async with door.client() as client:
        stream = await client.audio.transcriptions.create(
            file=JFK, model=MODEL, response_format="diarized_json", stream=True
        )
        events = [event async for event in stream]
    kinds = [event.type for event in events]
    assert kinds[0] == "transcript.text.delta" and kinds[-1] == "transcript.text.done"
    segments = [event for event in events if event.type == "transcript.text.segment"]
    assert segments and " ".join(each.text for each in segments) == events[-1].text


async def test_silence_gives_no_word(door: Door) -> None:
    silence = wav(np.zeros(5 * 16_000))
    async with door.client() as client:
        answer = await client.audio.transcriptions.create(
            file=("s.wav", silence), model=MODEL, response_format="verbose_json"
        )
        diarized = await client.audio.transcriptions.create(
            file=("s.wav", silence), model=MODEL, response_format="diarized_json"
        )
        stream = await client.audio.transcriptions.create(file=("s.wav", silence), model=MODEL, stream=True)
        events = [event async for event in stream]
    assert (answer.text, answer.segments, answer.duration) == ("", [], 5.0)
    assert (diarized.text, diarized.segments) == ("", [])
    assert [(event.type, event.text) for event in events] == [("transcript.text.done", "")]


async def test_translation_says_which_setting_to_change(door: Door) -> None:
    async with door.client() as client:
        with pytest.raises(openai.BadRequestError) as refused:
            await client.audio.translations.create(file=JFK, model="whisper-1")
    assert "TRANSCRIPTION_MODEL" in str(refused.value) and refused.value.param == "model"


async def test_the_models_that_are_here(door: Door) -> None:
    async with door.client() as client:
        found = [model async for model in client.models.list()]
        assert [model.id for model in found] == ["all-minilm-l6-v2", MODEL]
        assert all(model.created > 1_500_000_000 for model in found)
        assert (await client.models.retrieve(MODEL)).object == "model"
        with pytest.raises(openai.NotFoundError) as absent:
            await client.models.retrieve("gpt-9")
        assert absent.value.code == "model_not_found"
        with pytest.raises(openai.NotFoundError, match="gpt-9"):
            await client.audio.transcriptions.create(file=JFK, model="gpt-9")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"language": "de"}, "language"),
        ({"temperature": 3.0}, "temperature"),
        ({"response_format": "docx"}, "response_format"),
        ({"timestamp_granularities": ["syllable"]}, "timestamp_granularities/0"),
        ({"known_speaker_names": ["agent"]}, "known_speaker_names"),
    ],
)
async def test_what_is_wrong_is_named(door: Door, fields: dict[str, Any], param: str) -> None:
    async with door.client() as client:
        with pytest.raises(openai.BadRequestError) as refused:
            await client.audio.transcriptions.create(file=SENSE, model=MODEL, **fields)
    assert (refused.value.param, refused.value.type) == (param, "invalid_request_error")
    assert len(str(refused.value)) > 30


async def test_known_fields_and_unknown_ones_are_taken(door: Door) -> None:
    async with door.client() as client:
        answer = await client.audio.transcriptions.create(
            file=SENSE, model=MODEL, language="english", prompt="Dashwood", temperature=0.4,
            extra_body={"colour": "blue"},
        )  # fmt: skip
    assert "leisure" in plain(answer.text)


async def test_what_is_no_audio_is_a_bad_request(door: Door) -> None:
    async with door.client() as client:
        for data in (b"", b"this is no audio at all" * 100):
            for stream in (False, True):
                with pytest.raises(openai.BadRequestError) as refused:
                    await client.audio.transcriptions.create(
                        file=("x.wav", io.BytesIO(data)), model=MODEL, stream=stream
                    )
                assert refused.value.code == "audio_unreadable"
    async with httpx.AsyncClient(base_url=door.url, headers=door.headers) as http:
        for path in ("transcriptions", "translations", "diarization"):
            answer = await http.post(f"/v1/audio/{path}", data={"model": MODEL}, files={"other": b"x"})
            assert answer.status_code == 400 and answer.json()["error"]["param"] == "file", answer.text


async def test_too_large_a_file_is_refused_in_their_words(door: Door) -> None:
    async with door.client() as client:
        with pytest.raises(openai.APIStatusError) as refused:
            await client.audio.transcriptions.create(file=("big.wav", bytes(26 * 1024**2)), model=MODEL)
    assert (refused.value.status_code, refused.value.code) == (413, "too_large")


async def test_a_wrong_key_and_a_narrow_one(door: Door) -> None:
    async with door.client("npt_nonsense") as client:
        with pytest.raises(openai.AuthenticationError) as refused:
            await client.audio.transcriptions.create(file=SENSE, model=MODEL)
    assert refused.value.code == "invalid_api_key"
    async with httpx.AsyncClient(base_url=door.url, headers=door.headers) as http:
        made = await http.post("/auth/tokens", json={"name": "narrow", "scopes": ["memory"]})
    async with door.client(made.json()["token"]) as client:
        assert [model async for model in client.models.list()]
        with pytest.raises(openai.PermissionDeniedError, match="recordings"):
            await client.audio.transcriptions.create(file=SENSE, model=MODEL)


async def test_unknown_paths_answer_in_the_envelope(door: Door) -> None:
    async with httpx.AsyncClient(base_url=door.url) as http:
        for method, path in (("GET", "/v1/nothing"), ("POST", "/v1/audio/nothing"), ("DELETE", "/v1/models")):
            answer = await http.request(method, path, headers={"Accept": "text/html"})
            assert answer.status_code == 404
            assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


async def test_who_speaks_when(door: Door) -> None:
    async with httpx.AsyncClient(base_url=door.url, headers=door.headers, timeout=120) as http:
        answer = (await http.post("/v1/audio/diarization", files={"file": JFK.read_bytes()})).json()
        rttm = await http.post(
            "/v1/audio/diarization", files={"file": JFK.read_bytes()}, data={"response_format": "rttm"}
        )
    assert answer["speakers"] == ["A"] and answer["duration"] == pytest.approx(11, abs=0.01)
    assert all(0 <= each["start"] < each["end"] <= 11.1 for each in answer["segments"])
    lines = rttm.text.splitlines()
    assert len(lines) == len(answer["segments"])
    assert lines[0].split()[0] == "SPEAKER" and lines[0].split()[7] == "A"


async def test_nothing_is_kept(house: House, door: Door) -> None:
    async with door.client() as client:
        await client.audio.transcriptions.create(file=SENSE, model=MODEL)
    rows = await asyncio.to_thread(house.sql, "SELECT count(*) FROM recording")
    assert rows[0][0] == 0
    assert "leisure" not in house.log("transcription")
