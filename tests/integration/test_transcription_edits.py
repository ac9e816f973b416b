"""A user corrects a recording, through the transcription service and its real neighbours."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from shared.schemas.ids import new_id
from tests.integration.transcription_house import JFK, SENSE, House, finished, house, upload

__all__ = ["house"]


@pytest.fixture(scope="module")
def anna(house: House) -> httpx.Client:
    return house.client()


@pytest.fixture
def speech(anna: httpx.Client) -> dict[str, Any]:
    """Each test has a recording of its own."""
    answer = upload(anna, SENSE)
    assert answer.status_code == 201, answer.text
    return answer.json()


def user_of(client: httpx.Client) -> str:
    return str(client.auth._user.user_id)  # type: ignore[union-attr]


def texts(house: House, client: httpx.Client, query: str) -> list[str]:
    with house.client(user_of(client), "rag") as rag:
        hits = rag.post("/rag/search", json={"query": query, "mode": "text", "top_k": 50}).json()
    return [each["content"] for each in hits]


def test_a_corrected_word_keeps_its_neighbours_times_and_is_found(
    house: House, anna: httpx.Client, speech: dict[str, Any]
) -> None:
    path, first = f"/transcription/{speech['transcript_id']}", speech["segments"][0]
    tokens = first["text"].split()
    tokens[1] = "zanzibar"
    change = {"text": " ".join(tokens)}
    answer = anna.patch(f"{path}/segments/{first['segment_id']}", json=change, headers={"If-Match": 'W/"1"'})
    assert answer.status_code == 200 and answer.headers["etag"] == 'W/"2"', answer.text
    words = answer.json()["segments"][0]["words"]
    assert [each["word"] for each in words if not each["aligned"]] == ["zanzibar"]
    assert (words[0], words[-1]) == (first["words"][0], first["words"][-1])
    assert words[0]["end_s"] <= words[1]["start_s"] <= words[1]["end_s"] <= words[2]["start_s"]
    assert anna.get(path).json() == answer.json()
    assert any("zanzibar" in each for each in texts(house, anna, "zanzibar"))
    assert "zanzibar" in anna.get(f"{path}/export", params={"format": "vtt", "words": True}).text
    stale = anna.patch(f"{path}/segments/{first['segment_id']}", json=change, headers={"If-Match": 'W/"1"'})
    assert stale.status_code == 412 and stale.json()["code"] == "precondition_failed"


def test_split_speaker_merge_and_back_again(anna: httpx.Client, speech: dict[str, Any]) -> None:
    path, first = f"/transcription/{speech['transcript_id']}", speech["segments"][0]
    at = f"{path}/segments/{first['segment_id']}"
    cut = anna.post(f"{at}/split", json={"at_word": 2}).json()
    second = cut["segments"][1]
    assert cut["segments"][0]["words"] + second["words"] == first["words"]
    given = anna.patch(f"{path}/segments/{second['segment_id']}", json={"speaker": "SPEAKER_41"}).json()
    assert "SPEAKER_41" in [each["label"] for each in given["speakers"]]
    refused = anna.post(f"{at}/merge")
    assert refused.status_code == 409 and "force" in refused.json()["detail"]
    joined = anna.post(f"{at}/merge", json={"force": True}).json()
    assert (joined["segments"][0]["words"], joined["text"]) == (first["words"], speech["text"])
    assert anna.patch(at, json={"text": "nothing of it"}).json()["revision"] == 5
    told = anna.get(f"{path}/revisions").json()
    assert [(each["revision"], each["kind"]) for each in told["data"]] == [
        (5, "text"),
        (4, "merge"), (3, "speaker"), (2, "split"), (1, "transcribed"),
    ]  # fmt: skip
    earlier = anna.get(f"{path}/revisions/2")
    assert (earlier.json(), earlier.headers["etag"]) == (cut, 'W/"2"')
    assert anna.post(f"{path}/revert", json={"revision": 1}, headers={"If-Match": 'W/"4"'}).status_code == 412
    back = anna.post(f"{path}/revert", json={"revision": 1}, headers={"If-Match": 'W/"5"'}).json()
    assert back | {"revision": 1} == speech and anna.get(path).json()["revision"] == 6


def test_what_cannot_be_is_refused_and_changes_nothing(anna: httpx.Client, speech: dict[str, Any]) -> None:
    path, first = f"/transcription/{speech['transcript_id']}", speech["segments"][0]
    at = f"{path}/segments/{first['segment_id']}"
    bad = [
        ("PATCH", at, {}, 422),
        ("PATCH", at, {"text": "x" * 20_001}, 422),
        ("PATCH", at, {"text": "nul \u0000 here"}, 422),
        ("PATCH", at, {"text": 7}, 422),
        ("PATCH", at, {"speaker": "Somebody"}, 422),
        ("PATCH", at, {"text": "x", "start_s": 1}, 422),
        ("POST", f"{at}/split", {}, 422),
        ("POST", f"{at}/split", {"at_word": 1, "at_s": 1.0}, 422),
        ("POST", f"{at}/split", {"at_word": 0}, 422),
        ("POST", f"{at}/split", {"at_word": 9_999}, 422),
        ("POST", f"{at}/split", {"at_s": 1e9}, 422),
        ("POST", f"{path}/segments/{speech['segments'][-1]['segment_id']}/merge", {}, 409),
        ("POST", f"{path}/revert", {"revision": 9}, 404),
        ("POST", f"{path}/revert", {"revision": 0}, 422),
        ("PATCH", f"{path}/segments/{new_id('seg')}", {"text": "x"}, 404),
        ("PATCH", f"{path}/segments/..%2f..", {"text": "x"}, 404),
        ("GET", f"{path}/revisions/9", None, 404),
        ("GET", f"{path}/revisions/x", None, 422),
    ]
    for method, where, body, status in bad:
        answer = anna.request(method, where, json=body)
        assert answer.status_code == status, (method, where[-20:], answer.text[:200])
        assert answer.headers["content-type"].startswith("application/problem+json")
    raw = anna.patch(at, content=b'{"text": "\\ud800"}', headers={"Content-Type": "application/json"})
    assert raw.status_code == 422, "half a character"
    assert anna.get(path).json() == speech


def test_ten_thousand_letters_in_one_word_are_kept(house: House, anna: httpx.Client, speech: dict[str, Any]) -> None:
    path, first = f"/transcription/{speech['transcript_id']}", speech["segments"][0]
    long = "<script>" + "y" * 10_000
    changed = anna.patch(f"{path}/segments/{first['segment_id']}", json={"text": f"{long} --> \u202eend"}).json()
    assert changed["segments"][0]["words"][0]["word"] == long
    for form in ("txt", "srt", "csv"):
        assert long in anna.get(f"{path}/export", params={"format": form}).text
    assert "&lt;script&gt;yy" in anna.get(f"{path}/export", params={"format": "vtt"}).text


def test_what_is_not_finished_cannot_be_edited(house: House) -> None:
    with house.client() as gwen:
        accepted = upload(gwen, b"this is no sound", wait_s=0).json()
        finished(gwen, accepted["transcript_id"])
        path = f"/transcription/{accepted['transcript_id']}"
        for method, where, body in (
            ("PATCH", "/segments/seg_1", {"text": "x"}),
            ("GET", "/revisions", None),
            ("POST", "/revert", {"revision": 1}),
        ):
            answer = gwen.request(method, path + where, json=body)
            assert answer.status_code == 409 and "failed" in answer.json()["detail"], answer.text


def test_another_users_transcript_is_not_there_to_edit(house: House, speech: dict[str, Any]) -> None:
    own, segment = f"/transcription/{speech['transcript_id']}", speech["segments"][0]["segment_id"]
    random = f"/transcription/{new_id('rec')}"
    with house.client() as eve:
        for method, rest, body in (
            ("PATCH", f"/segments/{segment}", {"text": "mine"}),
            ("POST", f"/segments/{segment}/split", {"at_word": 1}),
            ("POST", f"/segments/{segment}/merge", {}),
            ("GET", "/revisions", None),
            ("GET", "/revisions/1", None),
            ("POST", "/revert", {"revision": 1}),
        ):
            hers, nobodys = (eve.request(method, path + rest, json=body) for path in (own, random))
            assert hers.status_code == nobodys.status_code == 404
            assert hers.json()["detail"] == nobodys.json()["detail"]
        with house.client(user_of(eve), "rag") as rag:
            body = {"speakers": [{"label": "SPEAKER_00", "name": "Eve"}]}
            assert rag.put(f"/rag/transcripts/{speech['transcript_id']}/speakers", json=body).status_code == 404


def test_speakers_are_put_by_the_services(house: House, anna: httpx.Client) -> None:
    speech = upload(anna, JFK).json()
    label = speech["segments"][0]["speaker"]
    with house.client(user_of(anna), "rag") as rag:
        path = f"/rag/transcripts/{speech['transcript_id']}/speakers"
        who = {"label": label, "speaker_id": "jfk", "name": "Jack", "method": "manual", "confidence": 1.0}
        answer = rag.put(path, json={"speakers": [who]}, headers={"If-Match": 'W/"1"'})
        assert answer.status_code == 200 and answer.json()["speakers"][0]["name"] == "Jack"
        assert rag.put(path, json={"speakers": [who]}, headers={"If-Match": 'W/"1"'}).status_code == 412
        hits = rag.post("/rag/search", json={"query": "country", "speakers": ["jack"]}).json()
    assert hits and hits[0]["metadata"]["speaker"] == "Jack"
    assert anna.get("/transcription/recent", params={"speaker": "JACK"}).json()["data"]
