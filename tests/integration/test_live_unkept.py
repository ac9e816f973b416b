"""A live stream of which nothing is kept: the same words, and no trace of them."""

from __future__ import annotations

from pathlib import Path

import jiwer
import pytest

from shared.schemas.ids import new_id
from tests.integration.test_live import RATE_HZ, listening, pcm_of, spoken
from tests.integration.transcription_house import House, house

__all__ = ["house"]
SAID = "And so my fellow Americans ask not what your country can do for you ask what you can do for your country"


@pytest.fixture
async def jfk() -> bytes:
    return await pcm_of("jfk.flac")


def traces(house: House, user: str) -> list[str]:
    """Files and rows of this user."""
    files = [str(each) for each in Path(house.folder, "blobs").rglob("*") if user in str(each) and each.is_file()]
    rows = house.sql("SELECT recording_id FROM recording WHERE owner = $1", user)
    return files + [str(each["recording_id"]) for each in rows]


def test_the_words_are_told_and_nothing_is_stored(house: House, jfk: bytes) -> None:
    user = new_id("usr")
    with listening(house, user, keep=False, quiet=True) as live:
        ready = live.until("ready")
        assert "transcript_id" not in ready and "resume_token" not in ready
        live.send(jfk)
        live.say(type="flush")
        while live.until("quiet")["audio_ms"] < len(jfk) * 1000 // 2 // RATE_HZ:
            pass
        assert jiwer.wer(spoken(SAID), spoken(live.text)) < 0.15, "quiet comes after all words"
        assert traces(house, user) == []
        live.send(jfk)
        live.say(type="stop")
        end = live.until("end")
    assert "transcript_id" not in end and "job_id" not in end and end["audio_ms"] == 2 * len(jfk) // 32
    assert live.text.lower().count("fellow") == 2, "a second time, when the first was forgotten"
    assert not live.of("ack"), "nothing was made durable, so nothing is acknowledged"
    assert traces(house, user) == []
    with house.client(user) as http:
        assert http.get("/transcription/recent").json()["data"] == []


def test_a_dropped_one_is_gone_at_once(house: House, jfk: bytes) -> None:
    user = new_id("usr")
    for _ in range(11):  # one more than may be open at once
        with listening(house, user, keep=False) as live:
            live.until("ready")
            live.send(jfk[:32_000])
    assert traces(house, user) == []


def test_a_flush_into_silence_is_quiet_at_once(house: House) -> None:
    with listening(house, new_id("usr"), keep=False, quiet=True) as live:
        live.until("ready")
        live.send(bytes(RATE_HZ))
        live.say(type="flush")
        assert live.until("quiet")["audio_ms"] == 500
        live.say(type="stop")
        assert live.until("end")["duration_s"] == 0.5


def test_nobody_is_told_quiet_who_did_not_ask(house: House, jfk: bytes) -> None:
    with listening(house, new_id("usr")) as live:
        live.until("ready")
        live.send(jfk)
        live.say(type="stop")
        live.until("end")
    assert live.of("final") and not live.of("quiet")
