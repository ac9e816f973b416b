"""Everything that goes wrong below `/v1` is told in OpenAI's envelope; everything else as a problem."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from services.api_gateway.service import scope_of
from shared import errors
from shared.problems import openai_envelope, problem_response
from shared.schemas.openai import Model
from tests.gateway_house import bearer, gateway, join, settings_for, started


@pytest.fixture
async def http(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with started(gateway(settings_for(tmp_path, max_upload_bytes=1000, requests_per_minute=5))) as client:
        yield client


def envelope(answer: httpx.Response) -> dict[str, str | None]:
    found: dict[str, str | None] = answer.json()["error"]
    assert set(answer.json()) == {"error"} and set(found) == {"message", "type", "param", "code"}
    assert found["message"] and answer.headers["content-type"] == "application/json"
    return found


async def test_each_kind(http: httpx.AsyncClient) -> None:
    path = "/v1/audio/transcriptions"
    nobody = await http.post(path)
    assert nobody.status_code == 401 and nobody.headers["www-authenticate"] == "Bearer"
    assert envelope(nobody)["code"] == "invalid_api_key"
    large = await http.post(path, content=b"x" * 1001)
    assert large.status_code == 413 and envelope(large)["type"] == "invalid_request_error"
    absent = await http.get("/v1/nothing/at/all")
    assert absent.status_code == 404 and "GET /v1/nothing" in str(envelope(absent)["message"])
    anna = bearer(await join(http))
    dead = await http.post(path, headers=anna)
    assert dead.status_code == 502 and envelope(dead)["type"] == "server_error"
    for _ in range(6):
        answer = await http.get("/v1/models", headers=anna)
    assert answer.status_code == 429 and envelope(answer)["code"] == "rate_limit_exceeded"
    assert int(answer.headers["retry-after"]) >= 1
    assert (await http.get("/gemma/nothing")).headers["content-type"] == "application/problem+json"


async def test_the_id_of_a_model_may_be_a_path(http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    async def here(services: object) -> list[Model]:
        return [Model(id="nvidia/parakeet-tdt-0.6b", created=0)]

    monkeypatch.setattr("services.api_gateway.routes.openai._models", here)
    anna = bearer(await join(http))
    assert (await http.get("/v1/models/nvidia/parakeet-tdt-0.6b", headers=anna)).json()["object"] == "model"
    assert envelope(await http.get("/v1/models/nvidia/other", headers=anna))["code"] == "model_not_found"


async def test_the_unforeseen_and_the_invalid(tmp_path: Path) -> None:
    app: FastAPI = gateway(settings_for(tmp_path))

    @app.get("/v1/broken")
    async def broken() -> None:
        raise RuntimeError("a secret")

    @app.get("/v1/number")
    async def number(n: int) -> int:
        return n

    app.router.routes[:0] = app.router.routes[-2:]  # before the page, which answers every path
    async with started(app) as http:
        answer = await http.get("/v1/broken")
        assert answer.status_code == 500 and "secret" not in answer.text
        assert envelope(answer) == {
            "message": "Something went wrong on our side.", "type": "server_error", "param": None, "code": None,
        }  # fmt: skip
        wrong = await http.get("/v1/number", params={"n": "x"})
        assert wrong.status_code == 400 and envelope(wrong)["param"] == "n"


def test_every_error_has_both_forms() -> None:
    for kind in (errors.Invalid, errors.Busy, errors.NotFound, errors.Forbidden, errors.StorageFailed):
        ours = problem_response(kind(), "/transcription/x")
        theirs = problem_response(kind(), "/v1/x")
        assert ours.media_type == "application/problem+json" and json.loads(bytes(ours.body))["code"] == kind.code
        assert json.loads(bytes(theirs.body)) == openai_envelope(kind())


@pytest.mark.parametrize(
    ("path", "scope"),
    [
        ("/v1/audio/transcriptions", "recordings"), ("/v1/models/x", None), ("/v1/chat/completions", "chat"),
        ("/v1/embeddings", "memory"), ("/v1/other", "account"),
        ("/api/v1/transcribe/rec_1", "recordings"), ("/api/v1/other", "account"), ("/transcription/upload", "recordings"),
        ("/gpu/status", "jobs"), ("/", "account"), ("/v1/audiobooks", "account"),
    ],
)  # fmt: skip
def test_the_longest_known_beginning_says_the_scope(path: str, scope: str | None) -> None:
    assert scope_of(path) == scope
