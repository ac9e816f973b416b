"""Whose X-Forwarded-For is believed: limits, the audit log and cookies go by it, so nobody may choose it for himself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import ValidationError

from tests.gateway_house import PASSWORD, bearer, gateway, join, settings_for

PROXY, CLIENT, STRANGER = "10.0.0.7", "203.0.113.5", "198.51.100.9"
SIGN_INS = 2
"""Per minute and account; three times as many from one address."""


@asynccontextmanager
async def seen_from(app: FastAPI, address: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client whose connection comes from that address."""
    transport = httpx.ASGITransport(app=app, client=(address, 40_000))
    async with httpx.AsyncClient(transport=transport, base_url="http://nemo.test") as http:
        yield http


@asynccontextmanager
async def behind_a_proxy(folder: Path, **changes: Any) -> AsyncIterator[FastAPI]:
    app = gateway(settings_for(folder, **({"trusted_proxies": f"{PROXY}, 172.18.0.0/16"} | changes)))
    async with app.router.lifespan_context(app):
        yield app


async def noted_address(app: FastAPI, peer: str, forwarded: list[str]) -> str:
    """The address that the audit log has for a sign-in."""
    headers = [("X-Forwarded-For", each) for each in forwarded]
    async with seen_from(app, peer) as http:
        admin = await join(http)
        body = {"username": "anna", "password": PASSWORD}
        signed_in = await http.post("/auth/login", json=body, headers=headers)
        assert signed_in.status_code == 200, signed_in.text
        listed = await http.get("/admin/audit", headers=bearer(admin))
        assert listed.status_code == 200, listed.text
        return str(listed.json()["data"][0]["address"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "noted"),
    [
        (PROXY, [CLIENT], CLIENT),
        (PROXY, [f"{STRANGER}, {CLIENT}"], CLIENT),
        (PROXY, [STRANGER, CLIENT], CLIENT),
        (PROXY, [f"{CLIENT}, 172.18.3.4"], CLIENT),
        (PROXY, [f"127.0.0.1, {CLIENT}, 172.18.3.4"], CLIENT),
        (PROXY, [f"{PROXY}, {CLIENT}"], CLIENT),
        (PROXY, [], PROXY),
        ("172.18.255.1", [CLIENT], CLIENT),
        ("172.19.0.1", [CLIENT], "172.19.0.1"),
        (STRANGER, [CLIENT], STRANGER),
        (STRANGER, [PROXY], STRANGER),
        (STRANGER, ["127.0.0.1"], STRANGER),
    ],
)
async def test_the_address_is_the_last_one_that_no_proxy_of_ours_has(
    tmp_path: Path, peer: str, forwarded: list[str], noted: str
) -> None:
    async with behind_a_proxy(tmp_path) as app:
        assert await noted_address(app, peer, forwarded) == noted


async def test_without_the_setting_nobody_is_believed(tmp_path: Path) -> None:
    async with behind_a_proxy(tmp_path, trusted_proxies="") as app:
        assert await noted_address(app, "127.0.0.1", [CLIENT]) == "127.0.0.1"


async def tried(app: FastAPI, peer: str, forwarded: str, number: int) -> int:
    async with seen_from(app, peer) as http:
        body = {"username": f"nobody-{number}", "password": PASSWORD}
        return (await http.post("/auth/login", json=body, headers={"X-Forwarded-For": forwarded})).status_code


async def test_a_made_up_address_is_no_way_around_the_limit(tmp_path: Path) -> None:
    async with behind_a_proxy(tmp_path, sign_ins_per_minute=SIGN_INS) as app:
        answers = [await tried(app, STRANGER, f"203.0.113.{n}", n) for n in range(3 * SIGN_INS + 2)]
        assert answers == [401] * 3 * SIGN_INS + [429] * 2
        through = [await tried(app, PROXY, f"203.0.113.{n}, {CLIENT}", 50 + n) for n in range(3 * SIGN_INS + 1)]
        assert through == [401] * 3 * SIGN_INS + [429], (
            "what the client wrote before its own address counts for nothing"
        )


async def test_clients_of_one_proxy_do_not_share_a_limit(tmp_path: Path) -> None:
    async with behind_a_proxy(tmp_path, sign_ins_per_minute=SIGN_INS) as app:
        answers = {await tried(app, PROXY, f"203.0.113.{n}", n) for n in range(4 * SIGN_INS)}
        assert answers == {401}


@pytest.mark.parametrize(("peer", "secure"), [(PROXY, True), (STRANGER, False)])
async def test_the_cookie_is_secure_where_a_proxy_of_ours_ends_tls(tmp_path: Path, peer: str, secure: bool) -> None:
    async with behind_a_proxy(tmp_path) as app, seen_from(app, peer) as http:
        await join(http)
        body = {"username": "anna", "password": PASSWORD, "cookie": True}
        answer = await http.post("/auth/login", json=body, headers={"X-Forwarded-Proto": "https"})
        assert ("Secure" in answer.headers["set-cookie"].split("; ")) is secure


@pytest.mark.parametrize("forwarded", ["127.0.0.1", f"127.0.0.1, {CLIENT}", "127.0.0.1, 127.0.0.1"])
async def test_figures_are_not_shown_through_a_proxy(tmp_path: Path, forwarded: str) -> None:
    async with behind_a_proxy(tmp_path, trusted_proxies="127.0.0.1") as app, seen_from(app, "127.0.0.1") as http:
        assert (await http.get("/metrics")).status_code == 200
        assert (await http.get("/metrics", headers={"X-Forwarded-For": forwarded})).status_code == 401


def test_behind_a_proxy_loopback_does_not_open_registration(tmp_path: Path) -> None:
    assert settings_for(tmp_path).registration_open
    assert not settings_for(tmp_path, trusted_proxies="127.0.0.1").registration_open
    assert settings_for(tmp_path, trusted_proxies="127.0.0.1", registration="open").registration_open


@pytest.mark.parametrize("value", ["*", "0.0.0.0/0", "::/0", "nginx", "10.0.0.7/33", "10.0.0.0.1", "10.0.0.7/8"])
def test_what_would_trust_anybody_is_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(ValidationError, match="TRUSTED_PROXIES"):
        settings_for(tmp_path, trusted_proxies=value)
