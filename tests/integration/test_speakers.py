"""Speakers across recordings: enrolled, recognised or left unknown, named, taken back, erased; each user's own."""

from __future__ import annotations

import json
from typing import Any

import httpx
import numpy as np
import pytest

from shared.audio.decode import decode
from shared.schemas.ids import new_id
from tests.conftest import ROOT
from tests.integration.transcription_house import House, finished, house, upload, wav

__all__ = ["house"]
RATE_HZ = 16_000
DEMO = ROOT / "services" / "cli" / "demo.ogg"
REFERENCE = json.loads((ROOT / "tests" / "fixtures" / "demo" / "reference.json").read_text())
READERS = sorted({each["speaker"] for each in REFERENCE})


@pytest.fixture(scope="module")
def demo() -> np.ndarray:
    import asyncio

    return asyncio.run(decode(DEMO.read_bytes())).mono()


def of(demo: np.ndarray, reader: str) -> np.ndarray:
    """All that one reader says in the demo conversation."""
    spans = [(each["start_s"], each["end_s"]) for each in REFERENCE if each["speaker"] == reader]
    return np.concatenate([demo[int(start * RATE_HZ) : int(end * RATE_HZ)] for start, end in spans])


def enroll(http: httpx.Client, data: bytes, **fields: str) -> httpx.Response:
    return http.post("/transcription/enroll-speaker", files={"audio_file": ("a.wav", data)}, data=fields)


@pytest.fixture(scope="module")
def anna(house: House) -> httpx.Client:
    return house.client()


@pytest.fixture(scope="module")
def talk(anna: httpx.Client, demo: np.ndarray) -> dict[str, Any]:
    """Transcribed after one of its three readers was enrolled by what another part of it says."""
    voice = of(demo, READERS[0])
    answer = enroll(anna, wav(voice[: len(voice) * 2 // 3]), speaker_id="reader_one", name="Reader Öne")
    assert answer.status_code == 201, answer.text
    found = answer.json()
    assert found["speaker"]["embeddings"] == 1 and found["seconds"] > 3 and 0 < found["quality"] <= 1
    accepted = upload(anna, DEMO, wait_s=0).json()
    return finished(anna, accepted["transcript_id"], 150)


def reader_of(transcript: dict[str, Any], label: str) -> str:
    """Whom a label is, by the time that they share."""

    def shared(reader: str) -> float:
        return sum(
            max(0.0, min(s["end_s"], r["end_s"]) - max(s["start_s"], r["start_s"]))
            for s in transcript["segments"] if s["speaker"] == label
            for r in REFERENCE if r["speaker"] == reader
        )  # fmt: skip

    return max(READERS, key=shared)


def label_of(transcript: dict[str, Any], reader: str) -> str:
    return next(each["label"] for each in transcript["speakers"] if reader_of(transcript, each["label"]) == reader)


def test_the_enrolled_one_is_named_and_the_others_stay_unknown(talk: dict[str, Any]) -> None:
    named = {reader_of(talk, each["label"]): each for each in talk["speakers"]}
    assert sorted(named) == READERS
    one = named[READERS[0]]
    assert (one["speaker_id"], one["name"], one["method"]) == ("reader_one", "Reader Öne", "voiceprint")
    assert one["confidence"] > 0.5
    for other in READERS[1:]:
        assert named[other]["method"] == "unknown" and named[other]["name"] is None


def test_another_user_has_neither_the_speaker_nor_the_name(house: House, talk: dict[str, Any]) -> None:
    with house.client() as ben:
        assert ben.get("/transcription/speakers").json()["data"] == []
        for method, path in (("GET", ""), ("PATCH", ""), ("DELETE", "")):
            answer = ben.request(
                method, f"/transcription/speakers/reader_one{path}", json={"name": "x"} if method == "PATCH" else None
            )
            assert answer.status_code == 404
        body = {"speakers": [{"label": talk["speakers"][0]["label"], "name": "Mine"}]}
        assert ben.post(f"/transcription/{talk['transcript_id']}/speakers", json=body).status_code == 404
        fields = {"transcript_id": talk["transcript_id"], "label": talk["speakers"][0]["label"], "speaker_id": "stolen"}
        assert ben.post("/transcription/enroll-speaker", files={"none": b""}, data=fields).status_code == 404
        found = finished(ben, upload(ben, DEMO, wait_s=0).json()["transcript_id"], 150)
        assert {each["method"] for each in found["speakers"]} == {"unknown"}


def test_naming_offers_earlier_recordings_and_is_taken_back(
    anna: httpx.Client, talk: dict[str, Any], demo: np.ndarray
) -> None:
    second = finished(anna, upload(anna, wav(of(demo, READERS[1])), wait_s=0).json()["transcript_id"], 150)
    assert [each["method"] for each in second["speakers"]] == ["unknown"]
    label, here = label_of(talk, READERS[1]), second["speakers"][0]["label"]
    path = f"/transcription/{second['transcript_id']}/speakers"
    wanted = {"speakers": [{"label": here, "name": "Ruth Reader"}]}
    preview = anna.post(path, json=wanted | {"preview": True}).json()
    assert [(each["transcript_id"], each["label"], each["name"]) for each in preview["relabelling"]] == [
        (talk["transcript_id"], label, "Ruth Reader")
    ]
    assert preview["undo_id"] is None and preview["transcript"]["speakers"][0]["name"] == "Ruth Reader"
    assert anna.get("/transcription/speakers/ruth_reader").status_code == 404, "a preview changes nothing"

    done = anna.post(path, json=wanted | {"relabel": [talk["transcript_id"]]}).json()
    assert [each["transcript_id"] for each in done["relabelled"]] == [talk["transcript_id"]] and not done["relabelling"]
    assert done["transcript"]["speakers"][0] | {"talk_s": 0} == {
        "label": here, "speaker_id": "ruth_reader", "name": "Ruth Reader", "confidence": None, "method": "manual", "talk_s": 0,
    }  # fmt: skip
    names = {
        each["label"]: each["name"] for each in anna.get(f"/transcription/{talk['transcript_id']}").json()["speakers"]
    }
    assert names[label] == "Ruth Reader"
    assert anna.get("/transcription/speakers/ruth_reader").json()["embeddings"] == 1

    undone = anna.post(f"/transcription/speakers/undo/{done['undo_id']}").json()
    assert sorted(undone["recordings"]) == sorted([talk["transcript_id"], second["transcript_id"]])
    names = {
        each["label"]: each["name"] for each in anna.get(f"/transcription/{talk['transcript_id']}").json()["speakers"]
    }
    assert names[label] is None
    assert anna.get("/transcription/speakers/ruth_reader").status_code == 404
    assert anna.post(f"/transcription/speakers/undo/{done['undo_id']}").status_code == 404, "once only"


def test_another_name_reaches_every_recording_and_is_taken_back(anna: httpx.Client, talk: dict[str, Any]) -> None:
    path = "/transcription/speakers/reader_one"
    etag = anna.get(path).headers["etag"]
    preview = anna.patch(path, json={"name": "Rosa", "preview": True}).json()
    assert preview["recordings"] == [talk["transcript_id"]] and preview["speaker"]["name"] == "Reader Öne"
    done = anna.patch(path, json={"name": "Rosa"}, headers={"If-Match": etag})
    assert done.status_code == 200 and done.json()["speaker"]["name"] == "Rosa"
    assert anna.patch(path, json={"name": "Late"}, headers={"If-Match": etag}).status_code == 412
    speakers = anna.get(f"/transcription/{talk['transcript_id']}").json()["speakers"]
    assert [each["name"] for each in speakers if each["speaker_id"] == "reader_one"] == ["Rosa"]
    anna.post(f"/transcription/speakers/undo/{done.json()['undo_id']}").raise_for_status()
    speakers = anna.get(f"/transcription/{talk['transcript_id']}").json()["speakers"]
    assert [each["name"] for each in speakers if each["speaker_id"] == "reader_one"] == ["Reader Öne"]
    assert anna.get(path).json()["name"] == "Reader Öne"


def test_a_part_of_a_recording_is_a_sample_too_and_more_samples_add_up(
    anna: httpx.Client, talk: dict[str, Any]
) -> None:
    label = label_of(talk, READERS[2])
    fields = {"transcript_id": talk["transcript_id"], "label": label, "speaker_id": "reader_three"}
    first = anna.post("/transcription/enroll-speaker", files={"none": b""}, data=fields)
    assert first.status_code == 201, first.text
    ids = [each["segment_id"] for each in talk["segments"] if each["speaker"] == label]
    fields = {
        "transcript_id": talk["transcript_id"],
        "segment_ids": ",".join(ids),
        "speaker_id": "reader_three",
        "name": "R. Three",
    }
    again = anna.post("/transcription/enroll-speaker", files={"none": b""}, data=fields).json()
    assert again["speaker"]["embeddings"] == 2 and again["speaker"]["name"] == "R. Three"
    assert again["speaker"]["seconds"] == pytest.approx(2 * first.json()["seconds"], rel=0.3)

    nobody = {"speakers": [{"label": label}]}
    taken = anna.post(f"/transcription/{talk['transcript_id']}/speakers", json=nobody).json()
    path = "/transcription/speakers/reader_three"
    assert anna.get(path).json()["embeddings"] == 1, "the label's sample goes with its name, the segments' one stays"
    anna.post(f"/transcription/speakers/undo/{taken['undo_id']}").raise_for_status()
    assert anna.get(path).json()["embeddings"] == 2


def test_what_is_no_sample_is_refused_with_the_reason(anna: httpx.Client, demo: np.ndarray) -> None:
    noise = np.random.default_rng(1).normal(size=10 * RATE_HZ) * 3_000
    at = np.arange(12 * RATE_HZ) / RATE_HZ
    music = sum(np.sin(2 * np.pi * f * at) for f in (220, 277, 330)) * np.repeat([1, 0.2] * 12, RATE_HZ // 2) * 3_000
    both = np.concatenate([of(demo, READERS[0]), of(demo, READERS[1])])
    for samples, problem in (
        (np.zeros(10 * RATE_HZ), "no_speech"), (noise, "no_speech"), (music, "no_speech"),
        (of(demo, READERS[0])[:RATE_HZ], "too_short"), (both, "several_voices"),
    ):  # fmt: skip
        answer = enroll(anna, wav(samples), speaker_id="nobody")
        assert answer.status_code == 422, problem
        assert answer.json()["errors"][0]["detail"] in (problem, "too_short" if problem == "no_speech" else problem)
        assert "cannot be used" in answer.json()["detail"]
    assert anna.get("/transcription/speakers/nobody").status_code == 404, "nothing was left behind"


def test_an_empty_file_is_told(anna: httpx.Client) -> None:
    answer = enroll(anna, b"", speaker_id="nobody")
    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"pointer": "/audio_file", "detail": "The file is empty."}]


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [({}, "/speaker_id"), ({"speaker_id": "a b"}, "/speaker_id"), ({"speaker_id": "../x"}, "/speaker_id"),
     ({"speaker_id": "ok", "name": "x" * 101}, "/name")],
)  # fmt: skip
def test_who_it_is_has_to_be_said_well(
    anna: httpx.Client, demo: np.ndarray, fields: dict[str, str], pointer: str
) -> None:
    answer = enroll(anna, wav(of(demo, READERS[0])), **fields)
    assert answer.status_code == 422 and answer.json()["errors"][0]["pointer"] == pointer


def test_labels_and_speakers_that_are_not_there(anna: httpx.Client, talk: dict[str, Any]) -> None:
    path = f"/transcription/{talk['transcript_id']}/speakers"
    label = talk["speakers"][0]["label"]
    for speakers in ([{"label": "SPEAKER_77", "name": "x"}], [{"label": label, "speaker_id": "nobody"}], [],
                     [{"label": label, "name": "x"}] * 2, [{"label": "Rosa", "name": "x"}]):  # fmt: skip
        assert anna.post(path, json={"speakers": speakers}).status_code == 422
    assert (
        anna.post(f"/transcription/{new_id('rec')}/speakers", json={"speakers": [{"label": label}]}).status_code == 404
    )
    assert anna.post(f"/transcription/speakers/undo/{new_id('und')}").status_code == 404


def test_the_voice_is_erased_with_its_speaker(house: House, demo: np.ndarray) -> None:
    user = new_id("usr")
    with house.client(user) as http:
        enroll(http, wav(of(demo, READERS[0])), speaker_id="gone").raise_for_status()
        assert len(house.sql("SELECT 1 FROM voiceprint WHERE owner = $1", user)) == 1
        assert http.delete("/transcription/speakers/gone").status_code == 204
        assert http.get("/transcription/speakers/gone").status_code == 404
        assert house.sql("SELECT 1 FROM voiceprint WHERE owner = $1", user) == []


def test_names_and_voices_are_sealed(house: House, anna: httpx.Client, talk: dict[str, Any]) -> None:
    rows = house.sql("SELECT s.sealed AS a, v.sealed AS b FROM speaker s JOIN voiceprint v USING (owner, speaker_id)")
    assert rows and not any("Öne".encode() in row["a"] or b"vector" in row["b"] for row in rows)
