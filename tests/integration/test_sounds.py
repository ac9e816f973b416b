"""The sound of recordings apart from their text, by the services that keep them: out, back, deleted by itself, all gone."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from shared.schemas.ids import new_id
from tests.integration.transcription_house import JFK, House, house, spoken, upload, wav

__all__ = ["house"]

LATER = (datetime.now(UTC) + timedelta(days=1)).isoformat()
SOUND = JFK.read_bytes()


class User:
    """One, at both services."""

    def __init__(self, house: House) -> None:
        self.user_id = new_id("usr")
        self.speech, self.vault = house.client(self.user_id), house.client(self.user_id, "rag")

    def recording(self) -> dict[str, Any]:
        made = upload(self.speech, JFK)
        assert made.status_code == 201, made.text
        return dict(made.json())

    def audio(self, name: str) -> httpx.Response:
        return self.speech.get(f"/transcription/{name}/audio")

    def older(self, before: str = LATER) -> list[str]:
        return list(self.speech.get("/recordings/sounds", params={"before": before}).raise_for_status().json())

    def close(self) -> None:
        self.speech.close()
        self.vault.close()


@pytest.fixture
def anna(house: House) -> Iterator[User]:
    user = User(house)
    yield user
    user.close()


@pytest.fixture
def ben(house: House) -> Iterator[User]:
    user = User(house)
    yield user
    user.close()


def test_a_vault_leaves_is_deleted_and_comes_back_with_sound_and_history(house: House, anna: User) -> None:
    made = anna.recording()
    name, segment = made["transcript_id"], made["segments"][0]["segment_id"]
    anna.speech.patch(f"/transcription/{name}/segments/{segment}", json={"text": "It was me."}).raise_for_status()
    anna.speech.post(
        "/transcription/enroll-speaker", files={"audio_file": ("me.flac", SOUND)}, data={"speaker_id": "me"}
    ).raise_for_status()
    archive = anna.vault.get("/rag/export").raise_for_status().content
    before = anna.speech.get(f"/transcription/{name}").json()

    assert anna.vault.delete("/rag/all").status_code == 204
    assert anna.audio(name).status_code == anna.speech.get(f"/transcription/{name}").status_code == 404
    assert anna.speech.get("/transcription/recent").json()["data"] == []
    assert anna.speech.get("/transcription/speakers").json()["data"] == [], "voiceprints go too"
    assert not list(house.folder.glob(f"blobs/{anna.user_id}/*"))
    for table in ("recording", "recording_voice", "speaker", "voiceprint", "naming"):
        (row,) = house.sql(f"SELECT count(*) AS count FROM {table} WHERE owner = $1", anna.user_id)
        assert row["count"] == 0, table

    result = anna.vault.post("/rag/import", files={"file": ("vault.zip", archive)}).raise_for_status().json()
    assert result["audio"]["imported"] == 1 and result["parts"]["revisions"]["imported"] == 2
    assert anna.audio(name).content == SOUND and anna.speech.get(f"/transcription/{name}").json() == before
    listed = anna.speech.get("/transcription/recent").json()["data"]
    assert [each["transcript_id"] for each in listed] == [name]
    reverted = anna.speech.post(f"/transcription/{name}/revert", json={"revision": 1}).raise_for_status().json()
    assert reverted["segments"][0]["text"] == made["segments"][0]["text"]
    again = anna.vault.post("/rag/import", files={"file": ("vault.zip", archive)}).raise_for_status().json()
    assert (again["audio"]["present"], again["audio"]["imported"]) == (1, 0)
    assert anna.speech.delete(f"/transcription/{name}").status_code == 204 and anna.audio(name).status_code == 404


def test_another_users_archive_brings_texts_but_takes_no_recording_over(anna: User, ben: User) -> None:
    name = anna.recording()["transcript_id"]
    archive = anna.vault.get("/rag/export").raise_for_status().content
    result = ben.vault.post("/rag/import", files={"file": ("vault.zip", archive)}).raise_for_status().json()
    assert result["parts"]["transcripts"]["imported"] == 1 and result["audio"]["different"] == 1
    assert ben.audio(name).status_code == 404 and anna.audio(name).content == SOUND
    assert ben.older() == []


def test_sound_goes_after_its_days_and_the_text_stays(house: House, anna: User, ben: User) -> None:
    name = anna.recording()["transcript_id"]
    other = ben.recording()["transcript_id"]
    rules = anna.vault.put("/rag/retention", json={"audio_days": 30}).raise_for_status().json()
    assert rules["last_run"]["verified"] and rules["last_run"]["removed"] == {"audio": 0}
    house.sql("UPDATE recording SET created_at = now() - interval '31 days'")
    run = anna.vault.put("/rag/retention", json={"audio_days": 30}).raise_for_status().json()["last_run"]
    assert run["verified"] and run["removed"] == {"audio": 1} and run["remaining"] == {"audio": 0}
    assert not (house.folder / "blobs" / anna.user_id / name).exists()
    gone = anna.audio(name)
    assert gone.status_code == 404 and gone.headers["content-type"] == "application/problem+json"
    assert "country" in anna.speech.get(f"/transcription/{name}").json()["text"]
    assert anna.vault.post("/rag/search", json={"query": "duty of citizens towards their nation"}).json()
    with zipfile.ZipFile(io.BytesIO(anna.vault.get("/rag/export").content)) as archive:
        assert json.loads(archive.read("manifest.json"))["missing"] == [f"audio/{name}"]
    assert ben.audio(other).content == SOUND, "nobody else's rule"


def test_what_is_no_sound_of_ones_own_is_refused(house: House, anna: User, ben: User) -> None:
    name = anna.recording()["transcript_id"]
    path = f"/recordings/{name}/sound"
    assert anna.speech.put(path, content=SOUND).json()["code"] == "already_exists"
    assert ben.speech.put(path, content=SOUND).status_code == ben.speech.delete(path).status_code == 404
    assert anna.speech.put(f"/recordings/{new_id('rec')}/sound", content=SOUND).status_code == 404
    assert anna.older() == [name] and anna.older("2020-01-01T00:00:00Z") == [] and ben.older() == []
    assert anna.speech.delete(path).status_code == 204 and anna.older() == []
    empty = anna.speech.put(path, content=b"")
    assert empty.status_code == 422 and empty.json()["code"] == "audio_unreadable" and anna.older() == []
    assert anna.speech.put(path, content=SOUND).status_code == 201 and anna.audio(name).content == SOUND
    house.sql("DELETE FROM recording WHERE recording_id = $1", name)
    assert anna.audio(name).status_code == 404, "as a crash between file and row leaves it"
    assert anna.speech.put(path, content=SOUND).status_code == 201 and anna.audio(name).content == SOUND


def test_what_is_being_transcribed_is_deleted_too(house: House, anna: User) -> None:
    accepted = upload(anna.speech, wav(spoken().repeat(3)), wait_s=0)
    name = accepted.json()["transcript_id"]
    assert anna.speech.delete(f"/recordings/{name}/sound").status_code in (204, 409)
    assert anna.vault.delete("/rag/all").status_code == 204
    assert anna.speech.get(f"/transcription/{name}").status_code == 404 and anna.older() == []
    assert not list(house.folder.glob(f"blobs/{anna.user_id}/*"))
    assert anna.vault.delete("/rag/all").status_code == 204, "again is no error"


def test_without_the_service_of_sound_nothing_is_deleted(house: House, anna: User) -> None:
    name = anna.recording()["transcript_id"]
    house.kill("transcription")
    try:
        refused = anna.vault.delete("/rag/all")
        assert refused.status_code == 502 and "transcription" in refused.json()["detail"]
        assert anna.vault.get(f"/rag/transcripts/{name}").status_code == 200
    finally:
        house.start("transcription")
    assert anna.vault.delete("/rag/all").status_code == 204
    assert anna.vault.get(f"/rag/transcripts/{name}").status_code == 404
