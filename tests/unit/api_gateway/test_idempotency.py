"""What was asked once is done once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from services.api_gateway import idempotency
from shared.errors import StorageFailed
from shared.storage.redis import MemoryStore
from tests.gateway_house import bearer, behind, gateway, join, served, settings_for, started

House = tuple[httpx.AsyncClient, dict[str, Any], FastAPI]


def backend() -> FastAPI:
    app = FastAPI()
    app.state.done, app.state.slow = [], asyncio.Event()

    @app.post("/rag/memory", status_code=201)
    async def remember(request: Request) -> Response:
        body = await request.json()
        app.state.done.append(body["content"])
        if body["content"] == "slow":
            await app.state.slow.wait()
        if body["content"] == "broken":
            return JSONResponse({"status": 500, "code": "internal", "detail": "Broken."}, 500)
        at = "2026-01-01T00:00:00Z"
        memory = {"memory_id": f"mem_{len(app.state.done)}", "memory_type": "note", "occurred_at": at, "revision": 1}
        return JSONResponse(memory | {"content": body["content"], "created_at": at, "updated_at": at}, 201)

    @app.post("/transcription/upload", status_code=202)
    async def upload(request: Request) -> Response:
        app.state.done.append(len(await request.body()))
        return JSONResponse({"transcript_id": "rec_1", "job_id": "job_1", "status": "queued"}, 202)

    return app


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    stand_in = backend()
    async with served(stand_in) as url, started(gateway(settings_for(tmp_path, **behind(url)))) as http:
        yield http, await join(http), stand_in


async def remember(http: httpx.AsyncClient, user: dict[str, Any], content: str, key: str | None) -> httpx.Response:
    headers = bearer(user) | ({"Idempotency-Key": key} if key is not None else {})
    return await http.post("/rag/memory", json={"content": content}, headers=headers)


async def test_a_repeated_call_gets_the_first_answer(house: House) -> None:
    http, anna, stand_in = house
    first, again = [await remember(http, anna, "once", "k1") for _ in range(2)]
    assert first.status_code == again.status_code == 201 and first.json() == again.json()
    assert again.headers["idempotency-replayed"] == "true" and again.headers["etag"] == first.headers["etag"]
    assert "idempotency-replayed" not in first.headers and stand_in.state.done == ["once"]
    await remember(http, anna, "once", None)
    await remember(http, anna, "once", "k2")
    assert len(stand_in.state.done) == 3


async def test_another_body_under_the_same_key_is_refused(house: House) -> None:
    http, anna, stand_in = house
    await remember(http, anna, "one", "k1")
    answer = await remember(http, anna, "two", "k1")
    assert answer.status_code == 422 and "another body" in answer.json()["detail"]
    assert stand_in.state.done == ["one"]


async def test_keys_are_each_users_own(house: House) -> None:
    http, anna, stand_in = house
    ben = await join(http, "ben")
    await remember(http, anna, "anna's", "k1")
    answer = await remember(http, ben, "ben's", "k1")
    assert answer.json()["content"] == "ben's" and stand_in.state.done == ["anna's", "ben's"]


async def test_while_the_first_is_at_work_the_second_is_told_so(house: House) -> None:
    http, anna, stand_in = house
    first = asyncio.create_task(remember(http, anna, "slow", "k1"))
    while not stand_in.state.done:
        await asyncio.sleep(0.01)
    second = await remember(http, anna, "slow", "k1")
    assert second.status_code == 409 and "Retry-After" in second.headers
    stand_in.state.slow.set()
    assert (await first).status_code == 201
    assert (await remember(http, anna, "slow", "k1")).headers["idempotency-replayed"] == "true"


async def test_our_own_failure_is_not_kept(house: House) -> None:
    http, anna, stand_in = house
    assert (await remember(http, anna, "broken", "k1")).status_code >= 500
    assert (await remember(http, anna, "broken", "k1")).status_code >= 500
    assert len(stand_in.state.done) == 2


@pytest.mark.parametrize("key", ["", "a b", "x" * 201])
async def test_a_key_that_is_none_is_told(house: House, key: str) -> None:
    http, anna, stand_in = house
    assert (await remember(http, anna, "one", key)).status_code == 400
    assert not stand_in.state.done


async def test_nobody_elses_door_is_opened_by_a_key(house: House) -> None:
    http, _, stand_in = house
    answer = await http.post("/rag/memory", json={"content": "x"}, headers={"Idempotency-Key": "k1"})
    assert answer.status_code == 401 and not stand_in.state.done


async def test_a_form_sent_again_has_another_boundary_and_is_the_same(house: House) -> None:
    http, anna, stand_in = house
    headers = bearer(anna) | {"Idempotency-Key": "k1"}
    answers = [
        await http.post("/transcription/upload", files={"file": ("a.wav", b"sound" * 1000)}, headers=headers)
        for _ in range(2)
    ]
    assert [each.status_code for each in answers] == [202, 202] and len(stand_in.state.done) == 1
    other = await http.post("/transcription/upload", files={"file": ("a.wav", b"other" * 1000)}, headers=headers)
    assert other.status_code == 422 and len(stand_in.state.done) == 1


async def test_a_body_that_breaks_off_does_not_hang_the_gateway(tmp_path: Path) -> None:
    async with (
        served(backend()) as url,
        served(gateway(settings_for(tmp_path, **behind(url)))) as door,
        httpx.AsyncClient(base_url=door) as http,
    ):
        head = {"Host": "nemo.test", "Idempotency-Key": "k1", "Content-Length": "100"} | bearer(await join(http))
        for path, sent in (("/rag/memory", b'{"content"'), ("/queue/task", b""), ("/rag/rebuild-index", b"{")):
            _, writer = await asyncio.open_connection("127.0.0.1", int(door.rsplit(":", 1)[1]))
            lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items()), "", ""]
            writer.write("\r\n".join(lines).encode() + sent)
            await writer.drain()
            await asyncio.sleep(0.1)
            writer.close()
            await asyncio.sleep(0.1)
        assert (await http.get("/live")).status_code == 200


class Forgetful(MemoryStore):
    """Takes claims, and fails when it should keep or give back."""

    async def put(self, key: str, value: str, ttl_s: float) -> None:
        if ttl_s == idempotency.KEEP_S:
            raise StorageFailed
        await super().put(key, value, ttl_s)

    async def delete(self, key: str) -> None:
        if key.startswith("idem:"):
            raise StorageFailed
        await super().delete(key)


async def test_an_answer_that_cannot_be_kept_is_an_answer_all_the_same(tmp_path: Path) -> None:
    stand_in, starts = backend(), list[int]()
    async with served(stand_in) as url:
        app = gateway(settings_for(tmp_path, **behind(url)), store=Forgetful())

        async def watched(scope: Any, receive: Any, send: Any) -> None:
            async def noted(message: Any) -> None:
                if message["type"] == "http.response.start":
                    starts.append(message["status"])
                await send(message)

            await app(scope, receive, noted)

        async with started(app) as http:
            anna = await join(http)
            starts.clear()
            async with httpx.AsyncClient(transport=httpx.ASGITransport(watched), base_url="http://nemo.test") as http:
                answer = await remember(http, anna, "once", "k1")
    assert answer.status_code == 201 and starts == [201] and stand_in.state.done == ["once"]


async def test_answers_are_sealed_in_the_store(tmp_path: Path) -> None:
    store = MemoryStore()
    async with (
        served(backend()) as url,
        started(gateway(settings_for(tmp_path, **behind(url)), store=store)) as http,
    ):
        await remember(http, await join(http), "a hazelnut secret", "k1")
    assert "hazelnut" not in repr(store._values)


@pytest.mark.parametrize("size", [1, 2, 7, 33, 10_000])
def test_the_digest_of_a_form_depends_on_neither_boundary_nor_pieces(size: int) -> None:
    def digest(boundary: str) -> str:
        scope = {"type": "http", "headers": [(b"content-type", f"multipart/form-data; boundary={boundary}".encode())]}
        found = idempotency.BodyDigest(scope)
        body = f"--{boundary}\r\nname=file\r\n\r\nsome sound\r\n--{boundary}--\r\n".encode()
        for at in range(0, len(body), size):
            found.update(body[at : at + size])
        return found.value()

    assert digest("abcdefabcdef0") == digest("0123456789zzz")
