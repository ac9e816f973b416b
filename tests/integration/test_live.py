"""The live stream through the real service: words as they are spoken, and nothing lost whatever happens."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import jiwer
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection
from whisper_normalizer.english import EnglishTextNormalizer

from shared.audio.decode import decode
from shared.schemas.ids import new_id
from tests.conftest import AUDIO, ROOT, connect
from tests.integration.transcription_house import House, database, finished, house, upload

__all__ = ["house"]

RATE_HZ = 16_000
PIECE = 3_200
"""Bytes of 100 ms."""
spoken = EnglishTextNormalizer()


async def pcm_of(name: str) -> bytes:
    """16 kHz mono, as a client sends it."""
    path = ROOT / "services" / "cli" / name if name == "demo.ogg" else AUDIO / name
    return (await decode(path.read_bytes())).mono().tobytes()


@pytest.fixture
async def jfk() -> bytes:
    return await pcm_of("jfk.flac")


class Listener:
    """One live client."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket, self.events = socket, list[dict[str, Any]]()

    def say(self, **message: Any) -> None:
        self.socket.send(json.dumps(message))

    def send(self, pcm: bytes) -> None:
        for at in range(0, len(pcm), PIECE):
            self.socket.send(pcm[at : at + PIECE])

    def until(self, kind: str, wait_s: float = 90) -> dict[str, Any]:
        """Reads on to the next event of that kind."""
        deadline = time.monotonic() + wait_s
        while True:
            event = json.loads(self.socket.recv(timeout=max(0.1, deadline - time.monotonic())))
            self.events.append(event)
            if event["type"] == kind:
                return event

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [each for each in self.events if each["type"] == kind]

    @property
    def text(self) -> str:
        return " ".join(each["text"] for each in sorted(self.of("final"), key=lambda each: each["start_s"]))


@contextmanager
def listening(house: House, user_id: str, *, begin: bool = True, **start: Any) -> Iterator[Listener]:
    url = house.url("transcription").replace("http", "ws") + "/transcription/stream"
    with connect(url, additional_headers=house.headers(user_id), max_size=None) as socket:
        listener = Listener(socket)
        if begin:
            listener.say(**({"type": "start", "sample_rate_hz": RATE_HZ} | start))
        yield listener


def test_words_come_while_somebody_speaks_and_stay(house: House, jfk: bytes) -> None:
    user = new_id("usr")
    with listening(house, user, title="A speech") as live:
        ready = live.until("ready")
        assert ready["audio_ms"] == 0 and not ready["resumed"] and ready["partials"]
        begun = 2 * RATE_HZ * 2  # bytes: he is in the middle of "And so, my fellow Americans"
        live.send(jfk[:begun])
        live.until("partial")
        live.send(jfk[begun:])
        live.say(type="stop")
        end = live.until("end")
    numbers = [each["seq"] for each in live.events]
    assert numbers == sorted(set(numbers)), "every event has a number of its own, in order"
    assert live.of("ack")[-1]["audio_ms"] == end["audio_ms"] == len(jfk) // 32
    assert [each["state"] for each in live.of("vad")][:2] == ["speech", "silence"]
    assert jiwer.wer(spoken("And so my fellow Americans ask not what your country can do for you ask what you can do for"
                            " your country"), spoken(live.text)) < 0.15  # fmt: skip
    for final in live.of("final"):
        times = [t for word in final["words"] for t in (word["start_s"], word["end_s"])]
        assert times == sorted(times) and final["start_s"] <= times[0] and times[-1] <= 11.01
    with house.client(user) as http:
        transcript = finished(http, end["transcript_id"])
        assert transcript["title"] == "A speech" and transcript["duration_s"] == 11.0
        assert http.get(f"/transcription/{end['transcript_id']}/audio").content[44:] == jfk
        sound = http.get(f"/transcription/{end['transcript_id']}/audio").content
        assert transcript["text"] == upload(http, sound).json()["text"], "the transcript of an upload of the same sound"


def wer(said: str, heard: str) -> float:
    return float(jiwer.wer(spoken(said), spoken(heard)))


REFERENCE = json.loads((ROOT / "tests" / "fixtures" / "demo" / "reference.json").read_text())


async def test_two_lost_connections_and_a_kill_lose_no_second(house: House) -> None:
    pcm, user = await pcm_of("demo.ogg"), new_id("usr")
    third = len(pcm) // 3 // PIECE * PIECE
    with listening(house, user, diarize=True) as live:
        token = live.until("ready")["resume_token"]
        live.send(pcm[:third])
        live.until("final")
        live.socket.close_socket()  # no farewell
        finals, last_seq = live.of("final"), live.events[-1]["seq"]
    with listening(house, user, resume_token=token, last_seq=last_seq) as live:
        ready = live.until("ready")
        assert ready["resumed"] and 0 < ready["audio_ms"] <= third // 32 and ready["seq"] == last_seq
        live.send(pcm[ready["audio_ms"] * 32 : 2 * third])
        live.until("final")
        house.kill("transcription")
        with pytest.raises(ConnectionClosed):
            live.until("end")
        finals, last_seq = finals + live.of("final"), live.events[-1]["seq"]
    house.start("transcription")
    with listening(house, user, resume_token=token, last_seq=last_seq) as live:
        ready = live.until("ready")
        assert ready["audio_ms"] >= third // 32, "what was acknowledged is there"
        live.send(pcm[ready["audio_ms"] * 32 :])
        live.say(type="stop")
        end = live.until("end", 150)
        finals += live.of("final")
    assert end["audio_ms"] == len(pcm) // 32
    numbers = [each["seq"] for each in finals]
    assert numbers == sorted(set(numbers)), "no final twice"
    assert len({each["segment_id"] for each in finals}) == len(finals)
    said = " ".join(each["text"] for each in REFERENCE)
    with house.client(user) as http:
        transcript = finished(http, end["transcript_id"], 150)
        uploaded = finished(
            http, upload(http, ROOT / "services" / "cli" / "demo.ogg", wait_s=0).json()["transcript_id"], 150
        )
        assert http.get(f"/transcription/{end['transcript_id']}/audio").content[44:] == pcm
    live_text = " ".join(each["text"] for each in sorted(finals, key=lambda each: each["start_s"]))
    assert wer(said, live_text) < wer(said, uploaded["text"]) + 0.1
    assert abs(wer(said, transcript["text"]) - wer(said, uploaded["text"])) <= 0.02
    assert len(transcript["speakers"]) == len(uploaded["speakers"]) == 3


def test_the_newest_connection_has_the_stream(house: House, jfk: bytes) -> None:
    user = new_id("usr")
    with listening(house, user) as first:
        token = first.until("ready")["resume_token"]
        first.send(jfk[: 2 * 32_000])
        first.until("ack")
        with listening(house, user, resume_token=token) as second:
            assert second.until("ready")["resumed"]
            assert first.until("error")["code"] == "taken_over"
            with pytest.raises(ConnectionClosed) as closed:
                first.until("never", 20)
            assert closed.value.rcvd is not None and closed.value.rcvd.code == 4409
            second.say(type="stop")
            assert second.until("end")["audio_ms"] <= 2_000


def test_a_token_is_its_owners_and_good_until_the_end(house: House, jfk: bytes) -> None:
    user = new_id("usr")
    with listening(house, user) as live:
        token = live.until("ready")["resume_token"]
        for wrong, who in (
            (token, new_id("usr")),
            (token[:-1] + ("x" if token[-1] != "x" else "y"), user),
            ("nonsense", user),
            (f"{new_id('rec')}.x", user),
        ):
            with listening(house, who, resume_token=wrong) as other:
                assert other.until("error")["code"] == "not_found"
        live.send(jfk[:64_000])
        live.say(type="stop")
        live.until("end")
    with listening(house, user, resume_token=token) as late:
        assert "has ended" in late.until("error")["detail"]


@pytest.mark.parametrize(
    "message",
    [b"\0" * 3_200, "no json", "[]", '{"type": "stop"}', '{"type": "start", "sample_rate_hz": 7}',
     '{"type": "start", "channels": 9}', '{"type": "start", "format": "mp3"}', '{"type": "start", "hello": 1}',
     '{"type": "start", "redact": "names"}', '{"type": "start", "language": "xx"}', "{" * 20_000],
)  # fmt: skip
def test_what_is_no_start_is_refused_with_the_reason(house: House, message: bytes | str) -> None:
    with listening(house, new_id("usr"), begin=False) as live:
        live.socket.send(message)
        error = live.until("error")
        assert error["code"] in ("invalid", "bad_request") and len(error["detail"]) > 20
        with pytest.raises(ConnectionClosed):
            live.until("never", 20)


def test_garbage_in_between_and_odd_bytes_do_not_end_a_stream(house: House, jfk: bytes) -> None:
    with listening(house, new_id("usr")) as live:
        live.until("ready")
        for garbage in ("{", '{"type": "dance"}', '{"type": "start"}', "null"):
            live.socket.send(garbage)
            assert live.until("error")["code"] == "invalid"
        for at in range(0, 64_000, 777):  # halves of samples
            live.socket.send(jfk[at : min(at + 777, 64_000)])
        live.socket.send(b"")
        live.say(type="stop")
        assert live.until("end")["audio_ms"] == 2_000


def test_a_frame_of_ten_megabytes_ends_the_connection_and_not_the_recording(house: House, jfk: bytes) -> None:
    user = new_id("usr")
    with listening(house, user) as live:
        token = live.until("ready")["resume_token"]
        live.send(jfk[:64_000])
        live.until("ack")
        with pytest.raises(ConnectionClosed) as closed:
            live.socket.send(bytes(10 * 1024**2))
            live.until("end", 30)
        assert closed.value.rcvd is None or closed.value.rcvd.code == 1009
    with listening(house, user, resume_token=token) as live:
        assert live.until("ready")["audio_ms"] > 0
        live.say(type="stop")
        live.until("end")


def test_each_channel_by_itself(house: House, jfk: bytes) -> None:
    left = np.frombuffer(jfk, dtype="<i2")
    right = np.concatenate([np.zeros(12 * RATE_HZ, np.int16), left])
    both = np.stack([np.pad(left, (0, len(right) - len(left))), right], axis=1).astype("<i2").tobytes()
    user = new_id("usr")
    with listening(house, user, channels=2, channel_labels="Agent,Caller") as live:
        live.until("ready")
        live.send(both)
        live.say(type="stop")
        end = live.until("end", 150)
    by_channel = {channel: [each for each in live.of("final") if each["channel"] == channel] for channel in (0, 1)}
    assert max(each["end_s"] for each in by_channel[0]) < 12 < min(each["start_s"] for each in by_channel[1])
    assert {each["name"] for each in by_channel[0]} == {"Agent"} and {each["speaker"] for each in by_channel[1]} == {
        "SPEAKER_01"
    }
    with house.client(user) as http:
        speakers = finished(http, end["transcript_id"], 150)["speakers"]
    assert [each["name"] for each in speakers] == ["Agent", "Caller"]


@pytest.mark.parametrize("rate_hz", [8_000, 44_100])
def test_other_rates(house: House, jfk: bytes, rate_hz: int) -> None:
    """Linear interpolation is a poor resampler, which is what a lying client is too."""
    samples = np.frombuffer(jfk, dtype="<i2")
    at = np.arange(int(len(samples) * rate_hz / RATE_HZ)) * RATE_HZ / rate_hz
    pcm = np.interp(at, np.arange(len(samples)), samples).astype("<i2").tobytes()
    with listening(house, new_id("usr"), sample_rate_hz=rate_hz) as live:
        live.until("ready")
        live.send(pcm)
        live.say(type="stop")
        assert live.until("end")["duration_s"] == pytest.approx(11.0, abs=0.01)
    assert "country" in live.text


def test_silence_and_noise_have_no_words(house: House) -> None:
    noise = (np.random.default_rng(3).normal(size=20 * RATE_HZ) * 600).astype("<i2").tobytes()
    with listening(house, new_id("usr")) as live:
        live.until("ready")
        live.send(bytes(20 * 32_000) + noise)
        live.say(type="stop")
        live.until("end")
    assert not live.of("final") and not live.of("partial")


def test_flush_does_not_wait_for_the_pause(house: House, jfk: bytes) -> None:
    with listening(house, new_id("usr")) as live:
        live.until("ready")
        live.send(jfk[: 2 * 32_000])  # in the middle of the sentence
        live.say(type="flush")
        assert "fellow" in live.until("final")["text"]
        live.say(type="stop")
        live.until("end")


def test_a_client_that_never_comes_back_loses_nothing(
    tmp_path: Any, postgres_server: str, redis_url: str, jfk: bytes
) -> None:
    house = House(tmp_path, database(postgres_server), redis_url, TRANSCRIPTION_RESUME_S="3")
    house.start()
    try:
        user = new_id("usr")
        with listening(house, user) as live:
            recording = live.until("ready")["transcript_id"]
            live.send(jfk)
            while live.until("ack")["audio_ms"] < 10_000:
                pass
            live.socket.close_socket()
        with house.client(user) as http:
            transcript = finished(http, recording, 90)
            assert transcript["status"] == "completed" and "ask what you can do" in transcript["text"]
    finally:
        house.stop()


def test_a_deleted_recording_ends_its_stream(house: House, jfk: bytes) -> None:
    user = new_id("usr")
    with listening(house, user) as live, house.client(user) as http:
        recording = live.until("ready")["transcript_id"]
        assert http.get(f"/transcription/{recording}").json()["status"] == "live"
        live.send(jfk[:64_000])
        live.until("ack")
        assert http.delete(f"/transcription/{recording}").status_code == 204
        with suppress(ConnectionClosed):
            live.send(jfk[64_000:128_000])
        assert live.until("error")["code"] == "not_found"
        assert http.get(f"/transcription/{recording}").status_code == 404
    assert not list(house.folder.glob(f"blobs/*/{recording}*"))


def test_a_stream_without_sound_leaves_nothing(house: House) -> None:
    user = new_id("usr")
    with listening(house, user) as live, house.client(user) as http:
        recording = live.until("ready")["transcript_id"]
        live.say(type="stop")
        assert live.until("error")["code"] == "no_sound"
        assert http.get(f"/transcription/{recording}").status_code == 404


def test_nobody_may_open_any_number_of_streams(house: House) -> None:
    user = new_id("usr")
    with ExitStack() as stack:
        for _ in range(10):
            stack.enter_context(listening(house, user)).until("ready")
        with listening(house, user) as one_too_many:
            assert one_too_many.until("error")["code"] == "busy"
        with listening(house, new_id("usr")) as other:
            other.until("ready")


def test_cancelling_what_is_done_again_keeps_the_transcript(house: House) -> None:
    """The late stages of a complete transcript are tried again; whoever stops that loses nothing."""
    with house.client() as ines, house.client(ines.auth._user.user_id, "gpu-coordinator") as jobs:  # type: ignore[union-attr]
        house.kill("emotion")
        try:
            accepted = upload(ines, AUDIO / "librivox-sas-0870.wav", wait_s=0).json()
            assert finished(ines, accepted["transcript_id"], 90)["status"] == "completed"
            jobs.post(f"/jobs/{accepted['job_id']}/cancel")
            deadline = time.monotonic() + 60
            while jobs.get(f"/jobs/{accepted['job_id']}").json()["state"] in ("queued", "running", "preempting"):
                assert time.monotonic() < deadline
                time.sleep(0.3)
        finally:
            house.start("emotion")
        assert "Dashwood" in ines.get(f"/transcription/{accepted['transcript_id']}").json()["text"]
