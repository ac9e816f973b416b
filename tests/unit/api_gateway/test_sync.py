"""`/sync` over two services, and what a server says of itself to a client that only knows its address."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from services.api_gateway.sync import Cursor
from shared.errors import BadRequest
from tests.gateway_house import bearer, behind, gateway, join, served, settings_for, started

SOUNDS, WORDS = [f"rec_{n}" for n in range(5)], [f"mem_{n}" for n in range(4)]


def backend() -> FastAPI:
    """Both services: each change is a deletion, so that it needs no words; positions count from 1."""
    app = FastAPI()
    app.state.origin = "1234"

    def page(kind: str, ids: list[str], after: int, limit: int) -> dict[str, Any]:
        found = ids[after : after + limit]
        data = [{"kind": kind, "id": each, "deleted": True} for each in found]
        at = after + len(found)
        return {"data": data, "position": at, "origin": app.state.origin, "has_more": at < len(ids)}

    @app.get("/transcription/changes")
    async def recordings(after: int, limit: int) -> dict[str, Any]:
        return page("recording", SOUNDS, after, limit)

    @app.get("/rag/changes")
    async def vault(after: int, limit: int) -> dict[str, Any]:
        return page("memory", WORDS, after, limit)

    return app


House = tuple[httpx.AsyncClient, dict[str, str], FastAPI]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    stand_in = backend()
    async with served(stand_in) as url, started(gateway(settings_for(tmp_path, **behind(url)))) as http:
        yield http, bearer(await join(http)), stand_in


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 9, 200])
async def test_everything_comes_once_and_in_order_whatever_the_pages(house: House, limit: int) -> None:
    http, anna, _ = house
    seen: list[str] = []
    params: dict[str, Any] = {"limit": limit}
    while True:
        page = (await http.get("/sync", headers=anna, params=params)).json()
        assert len(page["data"]) <= limit
        seen += [each["id"] for each in page["data"]]
        params["cursor"] = page["next_cursor"]
        if not page["has_more"]:
            break
    assert seen == SOUNDS + WORDS
    SOUNDS.append("rec_new")
    try:
        page = (await http.get("/sync", headers=anna, params=params)).json()
    finally:
        SOUNDS.pop()
    assert [each["id"] for each in page["data"]] == ["rec_new"]


async def test_after_a_restore_a_client_begins_anew(house: House) -> None:
    http, anna, stand_in = house
    cursor = (await http.get("/sync", headers=anna)).json()["next_cursor"]
    stand_in.state.origin = "5678"
    answer = await http.get("/sync", headers=anna, params={"cursor": cursor})
    assert answer.status_code == 410 and answer.json()["code"] == "cursor_outdated"
    assert (await http.get("/sync", headers=anna)).status_code == 200


BAD = ["", "x", "AAAA", "é", "a" * 200, base64.urlsafe_b64encode(b"1:x:-1:0").decode(), "MTo6MTox=", "1::1:1"]


@pytest.mark.parametrize("sent", BAD)
async def test_invented_cursors(house: House, sent: str) -> None:
    http, anna, _ = house
    with pytest.raises(BadRequest):
        Cursor.read(sent)
    answer = await http.get("/sync", headers=anna, params={"cursor": sent})
    assert answer.status_code == 400 and answer.json()["code"] == "bad_request"


async def test_a_narrow_token_does_not_get_it_all(house: House) -> None:
    http, anna, _ = house
    for scopes, status in (
        (["account"], 403),
        (["recordings", "memory"], 403),
        (["recordings", "memory", "chat"], 200),
    ):
        made = await http.post("/auth/tokens", json={"name": "x", "scopes": scopes}, headers=anna)
        token = {"Authorization": f"Bearer {made.json()['token']}"}
        assert (await http.get("/sync", headers=token)).status_code == status


async def test_the_card_of_a_server(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, server_name="Home of the Bergs", registration="closed")
    async with started(gateway(settings)) as http:
        first = (await http.get("/.well-known/nemo-server")).json()
        assert first["product"] == "nemo-server" and first["name"] == "Home of the Bergs"
        assert first["first_run"] and first["registration_open"] and first["api_version"] == 1
        assert first["tus"] == {
            "version": "1.0.0", "extensions": ["creation", "expiration", "termination"],
            "path": "/transcription/uploads", "max_bytes": 1024**3,
        }  # fmt: skip
        await join(http)
        later = (await http.get("/.well-known/nemo-server")).json()
        assert not later["first_run"] and not later["registration_open"]
        assert (await http.get("/openapi.json")).json()["info"]["version"] == later["version"]
