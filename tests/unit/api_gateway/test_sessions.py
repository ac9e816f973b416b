"""Devices that are signed in: listed to their user only, and ended with all that is open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest
from fastapi import FastAPI, WebSocket

from services.api_gateway.devices import device_of
from services.api_gateway.pump import SIGNED_OUT
from tests.gateway_house import PASSWORD, bearer, behind, gateway, join, served, settings_for, started

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:131.0) Gecko/20100101 Firefox/131.0"
CHROME = "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/129.0.0.0 Mobile Safari/537.36"
SAFARI = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605 Version/17.5 Mobile Safari/604.1"
EDGE = "Mozilla/5.0 (Windows NT 10.0; Win64) AppleWebKit/537 Chrome/129.0 Safari/537.36 Edg/129.0.2792.79"


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        (FIREFOX, "Firefox 131 on Linux"),
        (CHROME, "Chrome 129 on Android"),
        (SAFARI, "Safari 17 on iPhone"),
        (EDGE, "Edge 129 on Windows"),
        ("Dart/3.5 (dart:io)", "Dart/3.5"),
        ("curl/8.10.1", "curl/8.10.1"),
        ("x" * 5000, "x" * 60),
        ("\x1b[31mred", "[31mred"),
        ("", "unknown"),
        (None, "unknown"),
    ],
)
def test_a_device_is_named_shortly(sent: str | None, shown: str) -> None:
    assert device_of(sent) == shown


@pytest.fixture
async def http(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with started(gateway(settings_for(tmp_path))) as client:
        yield client


async def signed_in(http: httpx.AsyncClient, agent: str, name: str = "anna") -> dict[str, Any]:
    body = {"username": name, "password": PASSWORD}
    answer = await http.post("/auth/login", json=body, headers={"User-Agent": agent})
    pair: dict[str, Any] = answer.json()
    return pair


async def listed(http: httpx.AsyncClient, pair: dict[str, Any]) -> dict[str, dict[str, Any]]:
    answer = await http.get("/auth/sessions", headers=bearer(pair))
    assert answer.status_code == 200, answer.text
    return {each["device"]: each for each in answer.json()["data"]}


async def test_each_sees_the_own_ones_and_which_is_this_one(http: httpx.AsyncClient) -> None:
    await join(http)
    await join(http, "bert")
    desk, phone = await signed_in(http, FIREFOX), await signed_in(http, CHROME)
    await signed_in(http, EDGE, "bert")
    found = await listed(http, phone)
    assert {"Firefox 131 on Linux", "Chrome 129 on Android"} < set(found) and "Edge 129 on Windows" not in found
    assert [name for name, each in found.items() if each["current"]] == ["Chrome 129 on Android"]
    assert (await listed(http, desk))["Firefox 131 on Linux"]["current"]


async def test_a_refresh_is_the_same_session_used_later(http: httpx.AsyncClient) -> None:
    await join(http)
    desk = await signed_in(http, FIREFOX)
    before = (await listed(http, desk))["Firefox 131 on Linux"]
    again = (await http.post("/auth/refresh", json={"refresh_token": desk["refresh_token"]})).json()
    after = (await listed(http, again))["Firefox 131 on Linux"]
    assert after["id"] == before["id"] and after["created_at"] == before["created_at"]
    assert after["last_used_at"] > before["last_used_at"]


async def test_ending_one_ends_its_tokens_and_no_others(http: httpx.AsyncClient) -> None:
    await join(http)
    desk, phone = await signed_in(http, FIREFOX), await signed_in(http, CHROME)
    lost = (await listed(http, desk))["Chrome 129 on Android"]["id"]
    assert (await http.delete(f"/auth/sessions/{lost}", headers=bearer(desk))).status_code == 204
    assert (await http.get("/auth/me", headers=bearer(phone))).status_code == 401
    assert (await http.post("/auth/refresh", json={"refresh_token": phone["refresh_token"]})).status_code == 401
    assert "Chrome 129 on Android" not in await listed(http, desk)
    assert (await http.delete(f"/auth/sessions/{lost}", headers=bearer(desk))).status_code == 404


async def test_another_users_session_is_as_absent_as_none(http: httpx.AsyncClient) -> None:
    await join(http)
    await join(http, "bert")
    anna, bert = await signed_in(http, FIREFOX), await signed_in(http, CHROME, "bert")
    theirs = (await listed(http, anna))["Firefox 131 on Linux"]["id"]
    assert (await http.delete(f"/auth/sessions/{theirs}", headers=bearer(bert))).status_code == 404
    assert (await http.get("/auth/me", headers=bearer(anna))).status_code == 200


async def test_ending_one_closes_its_sockets(tmp_path: Path) -> None:
    inside = FastAPI()

    @inside.websocket("/transcription/stream")
    async def stream(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text("ready")
        await socket.receive()

    async with (
        served(inside) as address,
        served(gateway(settings_for(tmp_path, **behind(address)))) as url,
        httpx.AsyncClient(base_url=url) as http,
        aiohttp.ClientSession() as sockets,
    ):
        await join(http)
        desk, phone = await signed_in(http, FIREFOX), await signed_in(http, CHROME)
        lost = (await listed(http, desk))["Chrome 129 on Android"]["id"]
        async with sockets.ws_connect(f"{url}/transcription/stream", headers=bearer(phone)) as socket:
            assert await socket.receive_str() == "ready"
            await http.delete(f"/auth/sessions/{lost}", headers=bearer(desk))
            assert (await asyncio.wait_for(socket.receive(), 20)).type is aiohttp.WSMsgType.CLOSE
            assert socket.close_code == SIGNED_OUT
