"""The short way through the gateway checks what the long way checks."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.responses import JSONResponse, StreamingResponse

from services.api_gateway.app import create_app
from services.api_gateway.relay import SMALL_BYTES, Relayed
from shared.service import routes_of
from shared.settings import SERVICE_PORTS
from tests.gateway_house import bearer, behind, gateway, join, served, settings_for, started

ID = "mem_01J00000000000000000000000"


def backend() -> FastAPI:
    """Stands for every service: it says what it was asked."""
    app = FastAPI()
    app.state.seen = []

    @app.get("/rag/memory/{memory_id}")
    async def memory(memory_id: str, request: Request) -> Response:
        app.state.seen.append(dict(request.headers))
        if memory_id == "missing":
            body = {"type": "about:blank", "title": "Not found", "status": 404, "code": "not_found", "detail": "No."}
            return JSONResponse(body, 404, media_type="application/problem+json")
        if memory_id == "large":
            return Response(b"x" * (SMALL_BYTES + 1), media_type="application/json")
        if memory_id == "unsized":
            return StreamingResponse(iter([b"a", b"b"]), media_type="application/json")
        return JSONResponse({"memory_id": memory_id}, headers={"ETag": 'W/"3"', "X-Internal-Secret": "no"})

    return app


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[tuple[httpx.AsyncClient, dict[str, Any], FastAPI]]:
    stand_in = backend()
    async with served(stand_in) as url, started(gateway(settings_for(tmp_path, **behind(url)))) as http:
        yield http, await join(http), stand_in


House = tuple[httpx.AsyncClient, dict[str, Any], FastAPI]


async def test_the_answer_is_the_services_own_without_its_secrets(house: House) -> None:
    http, anna, stand_in = house
    answer = await http.get(f"/rag/memory/{ID}", headers=bearer(anna) | {"X-Internal-User": "usr_other"})
    assert answer.json() == {"memory_id": ID} and answer.headers["etag"] == 'W/"3"'
    assert "x-internal-secret" not in answer.headers and "ratelimit" in " ".join(answer.headers).lower()
    (asked,) = stand_in.state.seen
    assert anna["access_token"] not in asked["authorization"] and "x-internal-user" not in asked
    assert asked["x-request-id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer nonsense"}, {"Authorization": "Basic YTpi"}])
async def test_nobody_comes_in_by_the_short_way(house: House, headers: dict[str, str]) -> None:
    http, _, stand_in = house
    assert (await http.get(f"/rag/memory/{ID}", headers=headers)).status_code == 401
    assert not stand_in.state.seen


async def test_a_token_without_the_scope_stays_outside(house: House) -> None:
    http, anna, stand_in = house
    made = await http.post("/auth/tokens", json={"name": "t", "scopes": ["chat"]}, headers=bearer(anna))
    answer = await http.get(f"/rag/memory/{ID}", headers={"Authorization": f"Bearer {made.json()['token']}"})
    assert answer.status_code == 403 and not stand_in.state.seen


async def test_a_refusal_crosses_as_itself(house: House) -> None:
    http, anna, _ = house
    answer = await http.get("/rag/memory/missing", headers=bearer(anna))
    assert answer.status_code == 404 and answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "not_found"


@pytest.mark.parametrize(("name", "size"), [("large", SMALL_BYTES + 1), ("unsized", 2)])
async def test_large_and_unsized_answers_are_streamed(house: House, name: str, size: int) -> None:
    http, anna, _ = house
    assert len((await http.get(f"/rag/memory/{name}", headers=bearer(anna))).content) == size


@pytest.mark.parametrize("path", ["..%2Fall", "a%2Fb", "a%3Fb=1", "%00"])
async def test_an_id_is_no_path(house: House, path: str) -> None:
    http, anna, stand_in = house
    assert (await http.get(f"/rag/memory/{path}", headers=bearer(anna))).status_code in (400, 404)
    assert not stand_in.state.seen


async def test_a_dead_service_is_named(tmp_path: Path) -> None:
    async with started(gateway(settings_for(tmp_path, rag_url="http://127.0.0.1:9"))) as http:
        answer = await http.get(f"/rag/memory/{ID}", headers=bearer(await join(http)))
        assert answer.status_code == 502 and "rag" in answer.json()["detail"]


async def test_the_limit_holds_on_the_short_way(tmp_path: Path) -> None:
    async with served(backend()) as url:
        settings = settings_for(tmp_path, requests_per_minute=3, **behind(url))
        async with started(gateway(settings)) as http:
            anna = await join(http)
            codes = [(await http.get(f"/rag/memory/{ID}", headers=bearer(anna))).status_code for _ in range(5)]
    assert codes == [200, 200, 200, 429, 429]


def test_who_takes_the_short_way() -> None:
    """A body, a query or an admin's right needs the long one."""
    quick = [
        (*route.methods, route.path) for route in create_app().routes if isinstance(route, Relayed) and short(route)
    ]
    assert sorted(quick) == [
        ("DELETE", "/transcription/speakers/{speaker_id}"),
        ("GET", "/api/v1/transcribe/{session_id}"),
        ("GET", "/gemma/conversations/{conversation_id}"),
        ("GET", "/gpu/events"),
        ("GET", "/jobs/{job_id}"),
        ("GET", "/rag/documents/{document_id}"),
        ("GET", "/rag/documents/{document_id}/file"),
        ("GET", "/rag/facts/{memory_id}"),
        ("GET", "/rag/memory/{memory_id}"),
        ("GET", "/rag/retention"),
        ("GET", "/transcription/speakers"),
        ("GET", "/transcription/speakers/{speaker_id}"),
        ("GET", "/transcription/{transcript_id}"),
        ("GET", "/transcription/{transcript_id}/revisions/{revision}"),
        ("GET", "/transcription/{transcript_id}/summary"),
        ("POST", "/emotion/analyze"),
        ("POST", "/rag/import"),
        ("POST", "/transcription/enroll-speaker"),
        ("POST", "/transcription/speakers/undo/{undo_id}"),
    ]


def short(route: Relayed) -> bool:
    return getattr(route.get_route_handler(), "__func__", None) is Relayed._short_way


def dependencies(dependant: Dependant) -> Iterator[Any]:
    for each in dependant.dependencies:
        yield each.call
        yield from dependencies(each)


@pytest.mark.parametrize("service", sorted(SERVICE_PORTS))
def test_no_dependency_runs_in_a_thread(service: str) -> None:
    """FastAPI runs plain functions in a thread, which costs more than they do."""
    app = import_module(f"services.{service.replace('-', '_')}.app").create_app()
    calls = {call for _, dependant in routes_of(app) if dependant for call in dependencies(dependant)}
    assert not [
        call.__qualname__
        for call in calls
        if not (inspect.iscoroutinefunction(call) or inspect.isasyncgenfunction(call))
    ]
