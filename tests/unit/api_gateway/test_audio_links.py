"""Links to sound: what a player without headers may hear, for how long, and who never learns of it."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from shared.auth.tokens import UserTokens
from shared.schemas.ids import new_id
from tests.gateway_house import PASSWORD, bearer, behind, gateway, join, served, settings_for, started

SOUND = bytes(range(256)) * 4
MINE, OTHER = new_id("rec"), new_id("rec")
KEY = "0123456789abcdefghijklmnopqrstuvwxyz"


def backend() -> FastAPI:
    """Holds the sound of two recordings; answers ranges."""
    app = FastAPI()
    app.state.queries = []

    @app.get("/transcription/{transcript_id}/audio")
    async def audio(transcript_id: str, request: Request) -> Response:
        app.state.queries.append(str(request.url.query))
        if transcript_id not in (MINE, OTHER):
            body = {"title": "No", "status": 404, "code": "not_found", "detail": "There is nothing here."}
            return JSONResponse(body, 404, media_type="application/problem+json")
        first, _, last = request.headers.get("range", "bytes=0-").removeprefix("bytes=").partition("-")
        part = SOUND[int(first) : int(last) + 1 if last else None]
        headers = {"Content-Range": f"bytes {first}-{int(first) + len(part) - 1}/{len(SOUND)}"}
        return Response(part, 206 if "range" in request.headers else 200, headers, "audio/wav")

    @app.delete("/transcription/{transcript_id}", status_code=204)
    async def delete(transcript_id: str) -> None: ...

    return app


House = tuple[httpx.AsyncClient, dict[str, Any], FastAPI]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    stand_in = backend()
    async with served(stand_in) as url, started(gateway(settings_for(tmp_path, **behind(url)))) as http:
        yield http, await join(http), stand_in


async def linked(http: httpx.AsyncClient, pair: dict[str, Any], recording: str = MINE) -> str:
    answer = await http.post(f"/transcription/{recording}/audio-link", headers=bearer(pair))
    assert answer.status_code == 201 and answer.json()["expires_in"] == 900
    return str(answer.json()["url"])


async def test_a_link_plays_by_ranges_and_the_service_never_sees_it(house: House) -> None:
    http, anna, stand_in = house
    url = await linked(http, anna)
    assert (await http.get(url)).content == SOUND
    part = await http.get(url, headers={"Range": "bytes=10-19"})
    assert part.status_code == 206 and part.content == SOUND[10:20]
    assert part.headers["content-range"] == f"bytes 10-19/{len(SOUND)}" and part.headers["cache-control"] == "no-store"
    assert stand_in.state.queries == [""] * 3


async def test_a_link_leads_to_one_recording_and_only_reads(house: House) -> None:
    http, anna, _ = house
    link = (await linked(http, anna)).partition("?link=")[2]
    assert (await http.get(f"/transcription/{OTHER}/audio", params={"link": link})).status_code == 401
    assert (await http.get("/auth/me", params={"link": link})).status_code == 401
    assert (await http.get("/auth/me", headers={"Authorization": f"Bearer {link}"})).status_code == 401
    assert (await http.delete(f"/transcription/{MINE}", params={"link": link})).status_code == 401
    assert (await http.get(f"/transcription/{MINE}", params={"link": link})).status_code == 401


async def test_an_access_token_is_no_link_and_what_is_absent_has_none(house: House) -> None:
    http, anna, _ = house
    by_token = await http.get(f"/transcription/{MINE}/audio", params={"link": anna["access_token"]})
    assert by_token.status_code == 401
    absent = await http.post(f"/transcription/{new_id('rec')}/audio-link", headers=bearer(anna))
    assert absent.status_code == 404


async def test_a_link_ends_with_its_session(house: House) -> None:
    http, anna, _ = house
    url = await linked(http, anna)
    again = (await http.post("/auth/login", json={"username": "anna", "password": PASSWORD})).json()
    other = await linked(http, again)
    assert (await http.post("/auth/logout", headers=bearer(anna))).status_code == 204
    assert (await http.get(url)).status_code == 401
    assert (await http.get(other)).status_code == 200


async def test_a_link_ends_with_its_user(house: House) -> None:
    http, admin, _ = house
    bert = await join(http, "bert")
    url = await linked(http, bert)
    answer = await http.patch(f"/auth/users/{bert['user_id']}", json={"disabled": True}, headers=bearer(admin))
    assert answer.status_code == 200 and (await http.get(url)).status_code == 401


async def test_the_link_of_a_personal_token_ends_with_that_token(house: House) -> None:
    http, anna, _ = house
    new = {"name": "player", "scopes": ["recordings"]}
    made = (await http.post("/auth/tokens", json=new, headers=bearer(anna))).json()
    url = await linked(http, {"access_token": made["token"]})
    assert (await http.get(url)).status_code == 200
    await http.delete(f"/auth/tokens/{made['id']}", headers=bearer(anna))
    assert (await http.get(url)).status_code == 401


async def test_old_and_forged_links_are_refused(house: House) -> None:
    http, anna, _ = house
    url = await linked(http, anna)
    session = UserTokens(KEY).verify(url.partition("?link=")[2], "al+jwt")["sid"]
    claims = {"sid": session, "rec": MINE}
    old = UserTokens(KEY).issue("al+jwt", anna["user_id"], life_s=0, claims=claims)
    forged = UserTokens("z" * 40).issue("al+jwt", anna["user_id"], life_s=60, claims=claims)
    for link in (old, forged, "", "x", "a.b.c", "é" * 50, "a" * 5000):
        assert (await http.get(f"/transcription/{MINE}/audio", params={"link": link})).status_code == 401


async def test_links_stand_in_no_log(house: House, caplog: pytest.LogCaptureFixture) -> None:
    http, anna, _ = house
    caplog.set_level(logging.DEBUG)
    url = await linked(http, anna)
    await http.get(url)
    await http.get(url + "x")
    secret = url.partition("?link=")[2].split(".")[1]
    lines = [repr(vars(each)) for each in caplog.records if each.name.split(".")[0] not in ("httpx", "httpcore")]
    assert any("'route': '/transcription/{transcript_id}/audio'" in each for each in lines)
    assert not [each for each in lines if secret in each]


async def test_links_stand_in_no_log_of_the_server_either(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Over a real socket, as `nemo run` serves it: uvicorn's own access log is off."""
    async with (
        served(backend()) as inside,
        served(gateway(settings_for(tmp_path, **behind(inside)))) as url,
        httpx.AsyncClient(base_url=url) as http,
    ):
        link = await linked(http, await join(http))
        assert (await http.get(link)).status_code == 200
    said = "".join(capfd.readouterr())
    assert "/transcription/{transcript_id}/audio" in said
    assert link.partition("?link=")[2].split(".")[1] not in said
