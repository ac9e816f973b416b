"""tus through the real gateway: pieces, crashes, strangers and everything that a client may get wrong."""

from __future__ import annotations

import asyncio
import base64
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.storage import postgres
from shared.storage.journal import Journals
from shared.storage.keyring import PostgresKeyring
from tests.gateway_house import bearer, gateway, join, served, settings_for
from tests.integration.storeroom import storeroom
from tests.integration.transcription_house import JFK, House

TUS = {"Tus-Resumable": "1.0.0"}
PIECE = TUS | {"Content-Type": "application/offset+octet-stream"}
SOUND = JFK.read_bytes()
MARKER = b"a-marker-that-must-not-lie-on-the-disk"


FACTS = "SELECT size_bytes, sha256, family, job_id FROM recording WHERE recording_id = $1"

__all__ = ["storeroom"]


@pytest.fixture
def house(storeroom: House) -> House:
    return storeroom


@pytest.fixture
async def anna(house: House, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Signed in at a gateway of her own before the house."""
    app = gateway(settings_for(tmp_path, transcription_url=house.url("transcription")))
    app.state.identity = house.identity
    async with served(app) as url, httpx.AsyncClient(base_url=url, timeout=120) as http:
        http.headers.update(bearer(await join(http)))
        yield http


def metadata(**fields: str) -> str:
    return ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in fields.items())


async def begun(http: httpx.AsyncClient, length: int = len(SOUND), **fields: str) -> str:
    sent = TUS | {"Upload-Length": str(length), "Upload-Metadata": metadata(filename="talk.flac", **fields)}
    answer = await http.post("/transcription/uploads", headers=sent)
    assert answer.status_code == 201, answer.text
    assert answer.headers["tus-resumable"] == "1.0.0" and answer.headers["upload-offset"] == "0"
    return str(answer.headers["location"])


async def send(http: httpx.AsyncClient, where: str, offset: int, piece: Any) -> httpx.Response:
    return await http.patch(where, content=piece, headers=PIECE | {"Upload-Offset": str(offset)})


async def offset(http: httpx.AsyncClient, where: str) -> int:
    answer = await http.head(where, headers=TUS)
    assert answer.status_code == 200 and answer.headers["cache-control"] == "no-store"
    return int(answer.headers["upload-offset"])


async def restart(house: House) -> None:
    await asyncio.to_thread(house.kill, "transcription")
    await asyncio.to_thread(house.start, "transcription")


async def sql(house: House, query: str, *values: Any) -> list[Any]:
    return await asyncio.to_thread(house.sql, query, *values)


def journals(house: House, where: str) -> list[Path]:
    return list(house.folder.rglob(f"{where.rsplit('/', 1)[1]}.journal"))


async def test_pieces_become_the_recording_that_one_upload_makes(anna: httpx.AsyncClient, house: House) -> None:
    where, third = await begun(anna, title="In pieces", emotion="false"), len(SOUND) // 3
    for begin in (0, third, 2 * third):
        assert await offset(anna, where) == begin
        end = len(SOUND) if begin == 2 * third else begin + third
        answer = await send(anna, where, begin, SOUND[begin:end])
        assert answer.status_code == 204 and answer.headers["upload-offset"] == str(end), answer.text
        assert ("x-transcript-id" in answer.headers) == (end == len(SOUND))
    recording = answer.headers["x-transcript-id"]
    assert answer.headers["location"] == f"/jobs/{answer.headers['x-job-id']}"
    files, same = {"file": ("talk.flac", SOUND)}, {"emotion": "false", "title": "In pieces"}
    whole = await anna.post("/transcription/upload", files=files, data=same, params={"wait_s": 0})
    one, other = [(await sql(house, FACTS, each))[0] for each in (recording, whole.json()["transcript_id"])]
    assert one["job_id"] == answer.headers["x-job-id"] and other["job_id"] == whole.json()["job_id"]
    assert (one["size_bytes"], one["sha256"], one["family"]) == (other["size_bytes"], other["sha256"], other["family"])
    assert (await anna.get(f"/transcription/{recording}/audio")).content == SOUND
    again = await anna.head(where, headers=TUS)
    assert (again.headers["x-transcript-id"], again.headers["x-job-id"]) == (recording, answer.headers["x-job-id"])
    assert not journals(house, where)
    await anna.delete(f"/transcription/{recording}")
    assert (await anna.head(where, headers=TUS)).status_code == 404


async def test_what_was_acknowledged_survives_a_kill_and_what_expired_goes(
    anna: httpx.AsyncClient, house: House
) -> None:
    where, half = await begun(anna, emotion="false"), len(SOUND) // 2
    assert (await send(anna, where, 0, SOUND[:half])).status_code == 204
    expired = (await begun(anna)).rsplit("/", 1)[1]
    await send(anna, f"/transcription/uploads/{expired}", 0, SOUND[:1000])
    await sql(house, "UPDATE partial_upload SET expires_at = now() - interval '1 s' WHERE upload_id = $1", expired)
    assert (await anna.head(f"/transcription/uploads/{expired}", headers=TUS)).status_code == 404
    await restart(house)
    while await sql(house, "SELECT 1 FROM partial_upload WHERE upload_id = $1", expired):
        await asyncio.sleep(0.1)
    assert not journals(house, f"/{expired}")
    assert await offset(anna, where) == half
    answer = await send(anna, where, half, SOUND[half:])
    audio = await anna.get(f"/transcription/{answer.headers['x-transcript-id']}/audio")
    assert audio.content == SOUND


async def test_a_kill_in_the_middle_of_a_piece_leaves_a_beginning(anna: httpx.AsyncClient, house: House) -> None:
    sound = SOUND * 12  # more than one write to the disk
    where = await begun(anna, len(sound))

    async def slowly() -> AsyncIterator[bytes]:
        for at in range(0, len(sound) - 10, 1024**2):
            yield sound[at : min(at + 1024**2, len(sound) - 10)]
        while await offset(anna, where) == 0:
            await asyncio.sleep(0.05)
        await asyncio.to_thread(house.kill, "transcription")
        yield sound[-10:]

    answer = await send(anna, where, 0, slowly())
    assert answer.status_code == 502 and "transcription" in answer.json()["detail"]
    await asyncio.to_thread(house.start, "transcription")
    there = await offset(anna, where)
    assert 0 < there < len(sound)
    answer = await send(anna, where, there, sound[there:])
    assert answer.status_code == 204
    audio = await anna.get(f"/transcription/{answer.headers['x-transcript-id']}/audio")
    assert audio.content == sound


async def test_a_crash_behind_the_last_byte_still_makes_the_recording_once(
    anna: httpx.AsyncClient, house: House
) -> None:
    where = await begun(anna, emotion="false")
    upload_id = where.rsplit("/", 1)[1]
    await send(anna, where, 0, SOUND[:-7])
    await asyncio.to_thread(house.kill, "transcription")
    (row,) = await sql(house, "SELECT owner, recording_id FROM partial_upload WHERE upload_id = $1", upload_id)
    pool = await postgres.connect(house.environment["DATABASE_URL"], max_size=1)
    key = await PostgresKeyring(pool, house.environment["RAG_DB_KEY"]).data_key(row["owner"])
    (path,) = journals(house, where)
    journal = await Journals(path.parent.parent).open(row["owner"], upload_id, key)
    journal.append(SOUND[-7:])
    journal.close()
    await pool.close()
    await asyncio.to_thread(house.start, "transcription")
    first, second = await asyncio.gather(*(anna.head(where, headers=TUS) for _ in range(2)))
    told = await anna.head(where, headers=TUS)
    assert told.headers["x-transcript-id"] == row["recording_id"]
    assert {first.status_code, second.status_code} == {200}
    assert len(await sql(house, "SELECT 1 FROM recording WHERE owner = $1", row["owner"])) == 1
    assert (await anna.get(f"/transcription/{row['recording_id']}/audio")).content == SOUND


async def test_a_client_that_vanishes_keeps_what_it_sent(anna: httpx.AsyncClient) -> None:
    where = await begun(anna)
    host, port = anna.base_url.host, anna.base_url.port

    def vanish() -> None:
        headers = "".join(f"{name}: {value}\r\n" for name, value in (PIECE | {"Upload-Offset": "0"}).items())
        request = f"PATCH {where} HTTP/1.1\r\nHost: x\r\nAuthorization: {anna.headers['authorization']}\r\n{headers}"
        with socket.create_connection((host, port)) as client:
            client.sendall(request.encode() + f"Content-Length: {len(SOUND)}\r\n\r\n".encode() + SOUND[:100_000])

    await asyncio.to_thread(vanish)
    for _ in range(100):
        if await offset(anna, where) == 100_000:
            break
        await asyncio.sleep(0.1)
    for _ in range(100):
        answer = await send(anna, where, 100_000, SOUND[100_000:])
        if answer.status_code != 409:
            break
        await asyncio.sleep(0.1)
    assert answer.status_code == 204, answer.text
    audio = await anna.get(f"/transcription/{answer.headers['x-transcript-id']}/audio")
    assert audio.content == SOUND


async def test_two_pieces_at_once_are_one(anna: httpx.AsyncClient) -> None:
    where, begin, go = await begun(anna), asyncio.Event(), asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield SOUND[:1000]
        begin.set()
        await go.wait()
        yield SOUND[1000:]

    first = asyncio.create_task(send(anna, where, 0, slowly()))
    await begin.wait()
    for _ in range(100):  # until the first piece has arrived behind the gateway
        second = await send(anna, where, 0, b"")
        if second.status_code == 409:
            break
        await asyncio.sleep(0.1)
    assert second.status_code == 409 and second.json()["code"] == "still_running"
    assert (await anna.delete(where, headers=TUS)).status_code == 409
    go.set()
    assert (await first).status_code == 204


async def test_whoever_asks_while_the_last_piece_comes_leaves_nothing_behind(
    anna: httpx.AsyncClient, house: House
) -> None:
    where = await begun(anna)
    asked = [anna.head(where, headers=TUS) for _ in range(8)]
    last, *heads = await asyncio.gather(send(anna, where, 0, SOUND), *asked)
    while last.status_code == 409:  # a question was just being answered
        last = await send(anna, where, 0, SOUND)
    assert last.status_code == 204 and {each.status_code for each in heads} == {200}
    again = await asyncio.gather(*(anna.head(where, headers=TUS) for _ in range(8)))
    assert {each.headers["x-transcript-id"] for each in again} == {last.headers["x-transcript-id"]}
    assert not journals(house, where)


async def test_what_a_client_may_get_wrong(anna: httpx.AsyncClient) -> None:
    where = await begun(anna, 100)
    gone_wrong = {
        "no version": (await anna.patch(where, content=b"x", headers={"Upload-Offset": "0"}), 412),
        "no kind": (await anna.patch(where, content=b"x", headers=TUS | {"Upload-Offset": "0"}), 415),
        "no offset": (await anna.patch(where, content=b"x", headers=PIECE), 400),
        "odd offset": (await anna.patch(where, content=b"x", headers=PIECE | {"Upload-Offset": "-1"}), 400),
        "ahead": (await send(anna, where, 7, b"x"), 409),
        "too much": (await send(anna, where, 0, b"x" * 101), 413),
    }
    for name, (answer, status) in gone_wrong.items():
        assert answer.status_code == status, name
        assert answer.headers["content-type"] == "application/problem+json" and answer.json()["detail"]
        assert answer.headers["tus-resumable"] == "1.0.0"
    assert gone_wrong["no version"][0].headers["tus-version"] == "1.0.0"
    assert "begins at byte 0" in gone_wrong["ahead"][0].json()["detail"]
    assert await offset(anna, where) == 0


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Upload-Length": str(4 * 1024**3)}, 413, "too_large"),
        ({"Upload-Length": "0"}, 422, "audio_unreadable"),
        ({"Upload-Length": "1e3"}, 400, "bad_request"),
        ({}, 400, "bad_request"),
        ({"Upload-Defer-Length": "1"}, 400, "bad_request"),
        ({"Upload-Length": "5", "Upload-Metadata": "title not*base64"}, 400, "bad_request"),
        ({"Upload-Length": "5", "Upload-Metadata": "title /w=="}, 400, "bad_request"),
        ({"Upload-Length": "5", "Upload-Metadata": metadata(num_speakers="many")}, 422, "invalid"),
        ({"Upload-Length": "5", "Upload-Metadata": metadata(colour="red")}, 422, "invalid"),
        ({"Upload-Length": "5", "Upload-Metadata": metadata(language="xx")}, 422, "invalid"),
    ],
)
async def test_what_cannot_be_done_is_said_before_a_byte_is_sent(
    anna: httpx.AsyncClient, headers: dict[str, str], status: int, code: str
) -> None:
    answer = await anna.post("/transcription/uploads", headers=TUS | headers)
    assert answer.status_code == status and answer.json()["code"] == code
    if code == "too_large":
        assert "the limit is 1073741824" in answer.json()["detail"]


async def test_strangers_find_nothing(anna: httpx.AsyncClient) -> None:
    where = await begun(anna)
    bert = bearer(await join(anna, "bert"))
    assert (await anna.head(where, headers=TUS | bert)).status_code == 404
    assert (await anna.delete(where, headers=TUS | bert)).status_code == 404
    stolen = await anna.patch(where, content=b"x", headers=PIECE | {"Upload-Offset": "0"} | bert)
    assert stolen.status_code == 404 and await offset(anna, where) == 0


async def test_a_deleted_upload_leaves_nothing(anna: httpx.AsyncClient, house: House) -> None:
    where = await begun(anna)
    await send(anna, where, 0, SOUND[:1000])
    assert (await anna.delete(where, headers=TUS)).status_code == 204
    assert (await anna.head(where, headers=TUS)).status_code == 404
    assert not journals(house, where)


async def test_a_user_has_so_many_open_and_no_more(anna: httpx.AsyncClient) -> None:
    sent = TUS | {"Upload-Length": "5"}
    answers = await asyncio.gather(*(anna.post("/transcription/uploads", headers=sent) for _ in range(25)))
    made = [each.headers["location"] for each in answers if each.status_code == 201]
    assert len(made) == 20 and {each.status_code for each in answers} == {201, 409}
    await anna.delete(made[0], headers=TUS)
    assert (await anna.post("/transcription/uploads", headers=sent)).status_code == 201


async def test_bytes_lie_encrypted_and_the_names_too(anna: httpx.AsyncClient, house: House) -> None:
    where = await begun(anna, 100_000, title=MARKER.decode())
    await send(anna, where, 0, MARKER * 1000)
    for each in house.folder.rglob("*"):
        assert not each.is_file() or MARKER not in each.read_bytes()
    (row,) = await sql(house, "SELECT sealed FROM partial_upload WHERE upload_id = $1", where.rsplit("/", 1)[1])
    assert MARKER not in row["sealed"]
    back = (await anna.head(where, headers=TUS)).headers["upload-metadata"]
    assert back == metadata(filename="talk.flac", title=MARKER.decode())


async def test_options_and_clients_that_cannot_patch(anna: httpx.AsyncClient) -> None:
    able = (await anna.options("/transcription/uploads")).headers
    assert able["tus-version"] == "1.0.0" and able["tus-extension"] == "creation,expiration,termination"
    assert able["tus-max-size"] == str(1024**3)
    where = await begun(anna, 100)
    sent = PIECE | {"Upload-Offset": "0", "X-HTTP-Method-Override": "PATCH"}
    assert (await anna.post(where, content=b"x" * 10, headers=sent)).status_code == 204
    assert await offset(anna, where) == 10
