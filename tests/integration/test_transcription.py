"""The transcription service with its real neighbours and the real model."""

from __future__ import annotations

import csv
import io
import json
import re
import time

import httpx
import numpy as np
import pytest

from shared.schemas.ids import new_id
from tests.integration.transcription_house import JFK, SENSE, House, finished, house, spoken, upload, wav

__all__ = ["house"]
RATE_HZ = 16_000


@pytest.fixture(scope="module")
def anna(house: House) -> httpx.Client:
    return house.client()


@pytest.fixture(scope="module")
def speech(anna: httpx.Client) -> dict:
    answer = upload(anna, JFK, title="Inaugural address", context="1961", tags="history, speech")
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"/transcription/{answer.json()['transcript_id']}"
    return answer.json()


def test_who_said_what_and_when(speech: dict) -> None:
    text = re.sub(r"[^a-z ]", "", speech["text"].lower())
    assert "ask not what your country can do for you ask what you can do for your country" in text
    assert (speech["title"], speech["context"], speech["tags"]) == ("Inaugural address", "1961", ["history", "speech"])
    assert speech["duration_s"] == pytest.approx(11.0, abs=0.01) and speech["language"] == "en"
    words = [word for segment in speech["segments"] for word in segment["words"]]
    assert all(0 <= word["start_s"] <= word["end_s"] <= 11.0 for word in words)
    assert [w["start_s"] for w in words] == sorted(w["start_s"] for w in words)
    assert all(segment["emotion"]["label"] for segment in speech["segments"])
    assert speech["metadata"]["models"]["asr"] == "faster-whisper-tiny.en"
    assert speech["metadata"]["realtime_factor"] > 0


def test_it_is_found_by_its_meaning(house: House, anna: httpx.Client, speech: dict) -> None:
    with house.client(anna.auth._user.user_id, "rag") as rag:  # type: ignore[union-attr]
        hits = rag.post("/rag/search", json={"query": "duty of citizens"}).json()
    assert hits[0]["metadata"]["transcript_id"] == speech["transcript_id"]


def test_silence_and_noise_give_no_text(anna: httpx.Client) -> None:
    noise = np.random.default_rng(7)
    time_s = np.arange(20 * RATE_HZ) / RATE_HZ
    for name, samples in {
        "silence": np.zeros(20 * RATE_HZ),
        "white noise": noise.normal(0, 600, 20 * RATE_HZ),
        "hum": 3000 * np.sin(2 * np.pi * 50 * time_s),
        "beeps": 8000 * np.sin(2 * np.pi * 880 * time_s) * (time_s % 2 < 0.2),
    }.items():
        transcript = upload(anna, wav(samples)).json()
        assert (transcript["status"], transcript["text"], transcript["segments"]) == ("completed", "", []), name
        assert [each["code"] for each in transcript["warnings"]] == ["no_speech"]


def test_two_voices_on_two_channels_are_kept_apart(anna: httpx.Client) -> None:
    voice = spoken()
    stereo = np.zeros((2 * len(voice), 2), dtype=np.int16)
    stereo[: len(voice), 0], stereo[len(voice) :, 1] = voice, voice
    transcript = upload(anna, wav(stereo), channel_labels="Agent,Caller").json()
    assert [(s["label"], s["name"], s["method"]) for s in transcript["speakers"]] == [
        ("SPEAKER_00", "Agent", "channel"),
        ("SPEAKER_01", "Caller", "channel"),
    ]
    at = len(voice) / RATE_HZ
    for segment in transcript["segments"]:
        assert segment["channel"] == int(segment["start_s"] >= at - 0.3)


def test_one_voice_on_both_channels_is_mono(anna: httpx.Client) -> None:
    voice = spoken()
    transcript = upload(anna, wav(np.stack([voice, voice], axis=1)), channels="separate").json()
    assert "dual_mono_detected" in [each["code"] for each in transcript["warnings"]]
    assert {segment["channel"] for segment in transcript["segments"]} == {0}


def test_a_broken_off_file_gives_what_it_holds_and_says_so(anna: httpx.Client) -> None:
    transcript = upload(anna, SENSE.read_bytes()[:120_000]).json()
    assert transcript["status"] == "completed" and transcript["text"]
    assert "audio_truncated" in [each["code"] for each in transcript["warnings"]]


def test_accepted_at_once_and_followed_as_a_job(house: House, anna: httpx.Client) -> None:
    answer = upload(anna, JFK, wait_s=0)
    accepted = answer.json()
    assert answer.status_code == 202 and answer.headers["location"] == f"/jobs/{accepted['job_id']}"
    assert finished(anna, accepted["transcript_id"])["status"] == "completed"
    with house.client(anna.auth._user.user_id, "gpu-coordinator") as jobs:  # type: ignore[union-attr]
        deadline = time.monotonic() + 60  # the worker reports a moment after the transcript stands
        while (job := jobs.get(f"/jobs/{accepted['job_id']}").json())["state"] == "running":
            assert time.monotonic() < deadline, job
            time.sleep(0.05)
    assert job["state"] == "succeeded" and job["result"] == {"transcript_id": accepted["transcript_id"]}


def test_the_list_has_both_finished_and_waiting(house: House) -> None:
    with house.client() as ben:
        first = upload(ben, SENSE).json()["transcript_id"]
        second = upload(ben, SENSE, wait_s=0).json()["transcript_id"]
        page = ben.get("/transcription/recent").json()
        assert [each["transcript_id"] for each in page["data"]] == [second, first]
        finished(ben, second)
        one = ben.get("/transcription/recent", params={"limit": 1}).json()
        assert one["has_more"] and [each["transcript_id"] for each in one["data"]] == [second]
        rest = ben.get("/transcription/recent", params={"limit": 1, "cursor": one["next_cursor"]}).json()
        assert [each["transcript_id"] for each in rest["data"]] == [first] and not rest["has_more"]


def test_what_is_not_to_be_remembered_is_kept_but_not_found(house: House) -> None:
    with house.client() as cleo:
        transcript = upload(cleo, JFK, remember="false").json()
        assert cleo.get(f"/transcription/{transcript['transcript_id']}").json()["text"] == transcript["text"]
        with house.client(cleo.auth._user.user_id, "rag") as rag:  # type: ignore[union-attr]
            assert rag.post("/rag/search", json={"query": "country"}).json() == []


def test_rename_with_a_revision(anna: httpx.Client) -> None:
    path = f"/transcription/{upload(anna, SENSE).json()['transcript_id']}"
    tag = anna.get(path).headers["etag"]
    renamed = anna.patch(path, json={"title": "Sense"}, headers={"If-Match": tag})
    assert renamed.json()["title"] == "Sense" and renamed.headers["etag"] != tag
    assert anna.patch(path, json={"title": "Late"}, headers={"If-Match": tag}).status_code == 412
    assert anna.delete(path, headers={"If-Match": tag}).status_code == 412
    assert anna.get(path).json()["title"] == "Sense"
    assert anna.delete(path, headers={"If-Match": renamed.headers["etag"]}).status_code == 204


def test_renamed_while_it_is_in_work(house: House, anna: httpx.Client) -> None:
    accepted = upload(anna, JFK, wait_s=0).json()
    path = f"/transcription/{accepted['transcript_id']}"
    assert anna.patch(path, json={"title": "Renamed", "tags": ["early"]}).status_code == 200
    done = finished(anna, accepted["transcript_id"])
    assert (done["title"], done["tags"]) == ("Renamed", ["early"])


def test_words_are_found_while_it_is_worked_out_who_said_them(house: House) -> None:
    with house.client() as hana, house.client(hana.auth._user.user_id, "rag") as memory:  # type: ignore[union-attr]
        house.freeze("emotion")  # the last stage waits for it a while
        try:
            path = f"/transcription/{upload(hana, wav(np.tile(spoken(), 12)), wait_s=0).json()['transcript_id']}"
            found, hits, deadline = hana.get(path).json(), [], time.monotonic() + 200
            while not hits:
                assert found["status"] in ("queued", "processing") and time.monotonic() < deadline, found
                time.sleep(0.1)
                found = hana.get(path).json()
                hits = memory.post("/rag/search", json={"query": "leisure to consider", "mode": "text"}).json()
            assert found["status"] == "processing", "it was found before it was done"
        finally:
            house.thaw("emotion")
        found = finished(hana, found["transcript_id"])
        assert found["status"] == "completed"
        assert len(hana.get("/transcription/recent").json()["data"]) == 1
        assert {each["label"] for each in found["speakers"]} == {"SPEAKER_00"}


def test_deleted_means_gone(house: House) -> None:
    with house.client() as dora:
        owner = dora.auth._user.user_id  # type: ignore[union-attr]
        transcript_id = upload(dora, JFK).json()["transcript_id"]
        blob = house.folder / "blobs" / owner / transcript_id
        assert blob.is_file()
        assert dora.delete(f"/transcription/{transcript_id}").status_code == 204
        assert not blob.exists()
        for path in ("", "/audio", "/export"):
            assert dora.get(f"/transcription/{transcript_id}{path}").status_code == 404
        assert dora.delete(f"/transcription/{transcript_id}").status_code == 404
        assert dora.get("/transcription/recent").json()["data"] == []
        with house.client(owner, "rag") as rag:
            assert rag.post("/rag/search", json={"query": "country"}).json() == []
    assert not house.sql("SELECT 1 FROM recording WHERE recording_id = $1", transcript_id)


def test_deleted_while_it_is_in_work_never_comes_back(house: House) -> None:
    long = np.tile(spoken(), 12)
    with house.client() as emil:
        accepted = upload(emil, wav(long), wait_s=0).json()
        path = f"/transcription/{accepted['transcript_id']}"
        while emil.get(path).json()["status"] == "queued":
            time.sleep(0.05)
        assert emil.delete(path).status_code == 204
        assert emil.get(path).status_code == 404
        with house.client(emil.auth._user.user_id, "gpu-coordinator") as jobs:  # type: ignore[union-attr]
            deadline = time.monotonic() + 30
            while jobs.get(f"/jobs/{accepted['job_id']}").json()["state"] in ("queued", "running"):
                assert time.monotonic() < deadline
                time.sleep(0.2)
        assert emil.get("/transcription/recent").json()["data"] == []
        with house.client(emil.auth._user.user_id, "rag") as rag:  # type: ignore[union-attr]
            assert rag.get(f"/rag/transcripts/{accepted['transcript_id']}").status_code == 404


def test_a_cancelled_job_keeps_the_recording(house: House) -> None:
    with house.client() as finn, house.client(finn.auth._user.user_id, "gpu-coordinator") as jobs:  # type: ignore[union-attr]
        accepted = upload(finn, wav(np.tile(spoken(), 12)), wait_s=0).json()
        jobs.post(f"/jobs/{accepted['job_id']}/cancel")
        assert finished(finn, accepted["transcript_id"])["status"] == "cancelled"
        assert finn.get(f"/transcription/{accepted['transcript_id']}/audio").status_code == 200
        assert jobs.post(f"/jobs/{accepted['job_id']}/retry").status_code == 200
        assert finn.get(f"/transcription/{accepted['transcript_id']}").json()["status"] in ("queued", "processing")
        assert finished(finn, accepted["transcript_id"])["status"] == "completed"


def test_the_audio_comes_back_byte_for_byte(anna: httpx.Client, speech: dict) -> None:
    original, path = JFK.read_bytes(), f"/transcription/{speech['transcript_id']}/audio"
    whole = anna.get(path)
    assert whole.content == original and whole.headers["content-type"] == "audio/flac"
    assert whole.headers["accept-ranges"] == "bytes"
    size = len(original)
    for header, start, end in (
        ("bytes=0-99", 0, 100),
        ("bytes=65530-65550", 65_530, 65_551),
        ("bytes=1000000-", 1_000_000, size),
        ("bytes=-500", size - 500, size),
        (f"bytes=100-{size * 2}", 100, size),
    ):
        part = anna.get(path, headers={"Range": header})
        assert part.status_code == 206 and part.content == original[start:end], header
        assert part.headers["content-range"] == f"bytes {start}-{end - 1}/{size}"
    assert anna.get(path, headers={"Range": f"bytes={size}-"}).status_code == 416
    many = "bytes=" + ",".join(f"{at}-{at}" for at in range(10_000))
    for ignored in ("bytes=5-2", "items=0-5", "bytes=a-b", many[:60_000]):
        assert anna.get(path, headers={"Range": ignored}).status_code == 200, ignored[:20]


@pytest.mark.parametrize("form", ["json", "txt", "md", "srt", "vtt", "rttm", "csv"])
def test_exports(anna: httpx.Client, speech: dict, form: str) -> None:
    answer = anna.get(f"/transcription/{speech['transcript_id']}/export", params={"format": form})
    assert answer.status_code == 200 and f".{form}" in answer.headers["content-disposition"]
    first = speech["segments"][0]["text"]
    if form == "json":
        assert json.loads(answer.text)["text"] == speech["text"]
    elif form == "csv":
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        assert [row["text"] for row in rows] == [each["text"] for each in speech["segments"]]
    elif form == "rttm":
        fields = answer.text.splitlines()[0].split()
        assert (fields[0], fields[7]) == ("SPEAKER", "SPEAKER_00") and float(fields[4]) > 0
    elif form in ("srt", "vtt"):
        assert answer.text.count(" --> ") >= len(speech["segments"])
        assert all(word in answer.text for word in first.split())
    else:
        assert first.replace(",", "") in answer.text.replace(",", "").replace("\\", "")


def test_an_export_needs_a_finished_transcript(house: House) -> None:
    with house.client() as gwen:
        accepted = upload(gwen, b"this is no sound", wait_s=0).json()
        finished(gwen, accepted["transcript_id"])
        answer = gwen.get(f"/transcription/{accepted['transcript_id']}/export")
        assert answer.status_code == 409 and answer.json()["code"] == "conflict"


def test_another_users_recording_is_not_there(house: House, speech: dict) -> None:
    path = f"/transcription/{speech['transcript_id']}"
    random = f"/transcription/{new_id('rec')}"
    with house.client() as eve:
        calls = [
            ("GET", "", {}),
            ("PATCH", "", {"json": {"title": "mine"}}),
            ("DELETE", "", {}),
            ("GET", "/audio", {}),
            ("GET", "/audio", {"headers": {"Range": "bytes=0-1"}}),
            ("GET", "/export?format=txt", {}),
        ]
        for method, rest, arguments in calls:
            hers = eve.request(method, path + rest, **arguments)
            nobodys = eve.request(method, random + rest, **arguments)
            assert hers.status_code == nobodys.status_code == 404
            assert hers.json()["detail"] == nobodys.json()["detail"]
        assert eve.get("/transcription/recent").json()["data"] == []
        for odd in ("rec_x", "..%2f..%2fetc", "%00", "x" * 3000, "rec_" + "0" * 26):
            assert eve.get(f"/transcription/{odd}").status_code == 404, odd[:10]


def test_nothing_of_it_lies_in_the_clear(house: House, speech: dict) -> None:
    for path in house.folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert b"fellow Americans" not in content and b"Inaugural address" not in content, path
            assert JFK.read_bytes()[600_000:600_064] not in content, path
    rows = [bytes(row["sealed"]) for row in house.sql("SELECT sealed FROM recording")]
    assert rows and not any(b"Inaugural" in row for row in rows)


def test_a_clip_is_not_kept(house: House) -> None:
    kept = "SELECT count(*) FROM recording WHERE status <> 'deleting'"  # what other tests deleted goes in its own time
    before = house.sql(kept)[0][0]
    with house.as_gateway() as emotion:
        clip = emotion.post("/transcription/clip", files={"file": SENSE.read_bytes()}).json()
    assert clip["text"] and clip["duration_s"] == pytest.approx(7.1, abs=0.01) and clip["model"]
    assert house.sql(kept)[0][0] == before


def test_a_deleted_account_leaves_nothing(house: House) -> None:
    with house.client() as hugo:
        owner = hugo.auth._user.user_id  # type: ignore[union-attr]
        upload(hugo, SENSE)
        with house.as_gateway() as gateway:
            assert gateway.delete(f"/transcription/owner/{owner}").status_code == 204
        assert not (house.folder / "blobs" / owner).exists()
        assert not house.sql("SELECT 1 FROM recording WHERE owner = $1", owner)


def test_a_failed_late_stage_keeps_the_transcript_and_is_done_again_alone(house: House) -> None:
    with house.client() as gus, house.client(gus.auth._user.user_id, "gpu-coordinator") as jobs:  # type: ignore[union-attr]
        house.kill("emotion")
        try:
            accepted = upload(gus, JFK, wait_s=0).json()
            found = finished(gus, accepted["transcript_id"], 90)
            assert found["status"] == "completed" and "country" in found["text"], "nobody waits for the emotions"
            assert "emotion_unavailable" in [each["code"] for each in found["warnings"]]
            assert not any(each["emotion"] for each in found["segments"])
            ids, revision = [each["segment_id"] for each in found["segments"]], found["revision"]
            edited = gus.patch(
                f"/transcription/{accepted['transcript_id']}/segments/{ids[0]}", json={"text": "My own words."}
            )
            assert edited.status_code == 200
        finally:
            house.start("emotion")
        deadline = time.monotonic() + 120
        while (job := jobs.get(f"/jobs/{accepted['job_id']}").json())["state"] != "succeeded":
            assert time.monotonic() < deadline, job
            if job["state"] in ("failed", "dead"):
                jobs.post(f"/jobs/{accepted['job_id']}/retry")
            time.sleep(0.3)
        again = gus.get(f"/transcription/{accepted['transcript_id']}").json()
        assert [each["code"] for each in again["warnings"]] == ["dual_mono_detected"]
        assert all(each["emotion"] for each in again["segments"])
        assert [each["segment_id"] for each in again["segments"]] == ids and again["revision"] > revision
        assert again["segments"][0]["text"] == "My own words.", "what a user wrote meanwhile stays"
        assert house.sql("SELECT 1 FROM recording_part WHERE recording_id = $1", accepted["transcript_id"]) == []


def test_what_is_secret_is_taken_out_before_anybody_can_read_it(house: House) -> None:
    with house.client() as hana:
        done = upload(hana, JFK, redact="email,phone,card").json()
        assert "country" in done["text"] and "audio_not_redacted" in [each["code"] for each in done["warnings"]]
        assert upload(hana, JFK, redact="names").json()["errors"][0]["pointer"] == "/redact"
