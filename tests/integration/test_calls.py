"""The call-centre family with its real neighbours and the real model."""

from __future__ import annotations

import io
from functools import cache

import httpx
import numpy as np
import pytest
import soundfile
from faster_whisper import decode_audio

from shared.schemas.ids import new_id
from tests.integration.test_transcription import spoken
from tests.integration.transcription_house import JFK, SENSE, House, finished, house, upload

__all__ = ["house"]
RATE_HZ = 16_000
PATH = "/api/v1/transcribe"


@cache
def talk() -> np.ndarray:
    """Two channels: left alone, then both at once; float in [-1, 1], [n, 2]."""
    voice = spoken().astype(np.float64) / 32768
    kennedy = decode_audio(str(JFK))  # mono, at 16 kHz
    stereo = np.zeros((len(voice) + len(kennedy) + RATE_HZ, 2))
    stereo[: len(voice), 0] = voice
    at = len(voice) - RATE_HZ
    stereo[at : at + len(kennedy), 1] = kennedy
    return stereo


def wav(sound: np.ndarray, rate_hz: int = RATE_HZ, subtype: str = "PCM_16", kind: str = "WAV") -> bytes:
    into = io.BytesIO()
    soundfile.write(into, sound, rate_hz, subtype=subtype, format=kind)
    return into.getvalue()


def post(client: httpx.Client, data: bytes, **params: float) -> httpx.Response:
    return client.post(PATH, files={"audio": ("call.wav", data, "audio/wav")}, params=params)


@pytest.fixture(scope="module")
def anna(house: House) -> httpx.Client:
    return house.client()


@pytest.fixture(scope="module")
def call(anna: httpx.Client) -> dict:
    answer = post(anna, wav(talk()))
    assert answer.status_code == 200, answer.text
    assert answer.headers["location"] == f"{PATH}/{answer.json()['session_id']}"
    return answer.json()


def test_left_and_right_in_order_of_time(call: dict) -> None:
    segments = call["transcript"]["segments"]
    said = {side: " ".join(s["text"].lower() for s in segments if s["speaker"] == side) for side in ("left", "right")}
    assert "leisure" in said["left"] and "leisure" not in said["right"]
    assert "country" in said["right"] and "country" not in said["left"]
    assert [each["start_time"] for each in segments] == sorted(each["start_time"] for each in segments)
    assert all(set(each) == {"speaker", "start_time", "end_time", "text", "confidence"} for each in segments)
    assert call["status"] == "completed" and call["warnings"] == []


def test_summary_and_metadata(call: dict) -> None:
    texts = " ".join(each["text"] for each in call["transcript"]["segments"])
    assert all(sentence in texts for sentence in [call["summary"]["text"].split(": ")[1][:20]])
    assert call["summary"]["sentiment"] in ("positive", "neutral", "negative")
    assert call["metadata"]["duration"] == pytest.approx(len(talk()) / RATE_HZ, abs=0.01)
    assert call["metadata"]["processing_time"] > 0
    assert call["metadata"]["model_versions"]["asr"] == "faster-whisper-tiny.en"


def test_it_can_be_read_again_by_its_owner_alone(house: House, anna: httpx.Client, call: dict) -> None:
    assert anna.get(f"{PATH}/{call['session_id']}").json() == call
    assert anna.get(f"/transcription/{call['session_id']}").json()["speakers"][0]["name"] in ("left", "right")
    with house.client() as stranger:
        foreign = stranger.get(f"{PATH}/{call['session_id']}")
        absent = stranger.get(f"{PATH}/{new_id('rec')}")
        assert foreign.status_code == absent.status_code == 404
        assert foreign.json()["detail"] == absent.json()["detail"]
        assert stranger.get(PATH).json()["data"] == []


def test_the_list_shows_calls_only(house: House) -> None:
    with house.client() as client:
        other = upload(client, SENSE).json()["transcript_id"]
        ids = [post(client, wav(talk()[: 4 * RATE_HZ])).json()["session_id"] for _ in range(3)]
        assert client.get(f"{PATH}/{other}").status_code == 404
        listed = client.get(PATH, params={"limit": 2}).json()
        assert [each["session_id"] for each in listed["data"]] == ids[:0:-1] and listed["has_more"]
        rest = client.get(PATH, params={"limit": 2, "offset": 2, "status": "completed"}).json()
        assert [each["session_id"] for each in rest["data"]] == ids[:1] and not rest["has_more"]
        assert client.get(PATH, params={"status": "failed"}).json()["data"] == []
        assert client.get(PATH, params={"status": "nonsense"}).status_code == 422
        assert client.delete(f"/transcription/{ids[0]}").status_code == 204
        assert len(client.get(PATH).json()["data"]) == 2


def test_accepted_at_once(anna: httpx.Client) -> None:
    answer = post(anna, wav(talk()), wait_s=0)
    session_id = answer.json()["session_id"]
    assert answer.status_code == 202 and answer.headers["location"] == f"{PATH}/{session_id}"
    early = anna.get(f"{PATH}/{session_id}").json()
    assert early["status"] in ("queued", "processing", "completed")
    finished(anna, session_id)
    assert anna.get(f"{PATH}/{session_id}").json()["summary"]["text"]


@pytest.mark.parametrize(("rate_hz", "subtype"), [(8_000, "PCM_16"), (48_000, "PCM_24"), (44_100, "PCM_32")])
def test_formats_of_call_centres(anna: httpx.Client, rate_hz: int, subtype: str) -> None:
    sound = talk()[: 4 * RATE_HZ]
    at = np.arange(0, len(sound), RATE_HZ / rate_hz)
    other = np.stack([np.interp(at, np.arange(len(sound)), sound[:, side]) for side in (0, 1)], axis=1)
    answer = post(anna, wav(other, rate_hz, subtype))
    assert answer.status_code == 200 and answer.json()["transcript"]["segments"], answer.text


def test_both_channels_alike_is_said(anna: httpx.Client) -> None:
    voice = talk()[: 4 * RATE_HZ, :1]
    answer = post(anna, wav(np.concatenate([voice, -voice], axis=1))).json()
    assert [each["code"] for each in answer["warnings"]] == ["dual_mono_detected"]
    assert {each["speaker"] for each in answer["transcript"]["segments"]} == {"left"}


def test_bleed_and_silence_are_said(anna: httpx.Client) -> None:
    sound = talk().copy()
    bled = post(anna, wav(sound + 0.25 * sound[:, ::-1])).json()
    assert [each["code"] for each in bled["warnings"]] == ["crosstalk_detected"]
    right = " ".join(s["text"].lower() for s in bled["transcript"]["segments"] if s["speaker"] == "right")
    assert "country" in right and "leisure" not in right
    sound[:, 1] = 0
    silent = post(anna, wav(sound)).json()
    assert [each["code"] for each in silent["warnings"]] == ["silent_channel"]
    assert {each["speaker"] for each in silent["transcript"]["segments"]} == {"left"}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (wav(talk()[:, 0]), "stereo"),
        (wav(np.zeros((RATE_HZ * 2, 3))), "3 channels"),
        (wav(talk(), kind="FLAC"), "WAV"),
        (b"", "WAV"),
        (b"RIFF\0\0\0\0WAVEfmt ", "breaks off"),
        (wav(talk()[: RATE_HZ // 2]), "at least 1 s"),
        (wav(talk()[: 2 * RATE_HZ], 96_000), "96000 Hz"),
        (wav(talk()[: 2 * RATE_HZ], subtype="PCM_U8"), "8 bits"),
        (wav(np.zeros((8_000 * 1801, 2)), 8_000), "30"),
    ],
)
def test_what_is_no_such_call_is_refused_with_the_way_out(
    house: House, anna: httpx.Client, data: bytes, words: str
) -> None:
    before = house.sql("SELECT count(*) FROM recording")[0][0]
    answer = post(anna, data)
    assert answer.status_code == 422 and words in answer.json()["detail"], answer.text
    assert house.sql("SELECT count(*) FROM recording")[0][0] == before


def test_without_the_file(anna: httpx.Client) -> None:
    assert anna.post(PATH, data={"x": "y"}, files={"wrong": b"x"}).status_code == 422
    assert anna.post(PATH, json={}).status_code == 415
