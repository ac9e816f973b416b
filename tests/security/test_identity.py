"""Sessions: rotation, reuse, revocation, and the first administrator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from services.api_gateway.app import create_app
from services.api_gateway.settings import Settings
from shared.auth.service_tokens import ServiceIdentity
from shared.storage.keyring import MemoryKeyring
from shared.storage.redis import MemoryStore

PASSWORD = "a long enough pass phrase"


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[FastAPI]:
    settings = Settings(
        data_dir=tmp_path,
        bcrypt_rounds=4,
        sign_ins_per_minute=1000,
        jwt_secret_primary=SecretStr("0123456789abcdefghijklmnopqrstuvwxyz"),
        session_secret=SecretStr("zyxwvutsrqponmlkjihgfedcba9876543210"),
        users_db_key=SecretStr("abcdefghijklmnopqrstuvwxyz0123456789"),
    )
    made = create_app(settings, store=MemoryStore(), keyring=MemoryKeyring())
    made.state.door, made.state.identity = object(), ServiceIdentity.ephemeral()["api-gateway"]
    async with made.router.lifespan_context(made):
        yield made


@pytest.fixture
async def http(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://nemo.test") as client:
        yield client


async def join(http: httpx.AsyncClient, name: str = "anna") -> dict:
    body = {"username": name, "password": PASSWORD}
    assert (await http.post("/auth/register", json=body)).status_code == 201
    return (await http.post("/auth/login", json=body)).json()


def bearer(pair: dict) -> dict[str, str]:
    return {"Authorization": f"Bearer {pair['access_token']}"}


async def refresh(http: httpx.AsyncClient, token: str) -> httpx.Response:
    return await http.post("/auth/refresh", json={"refresh_token": token})


async def test_fifty_first_registrations_make_one_admin(http: httpx.AsyncClient) -> None:
    bodies = [{"username": f"user{n}", "password": PASSWORD} for n in range(50)]
    answers = await asyncio.gather(*(http.post("/auth/register", json=body) for body in bodies))
    roles = [answer.json()["user"]["role"] for answer in answers]
    assert roles.count("admin") == 1 and roles.count("user") == 49


async def test_names_are_taken_whatever_their_case(http: httpx.AsyncClient) -> None:
    await join(http, "Anna")
    answer = await http.post("/auth/register", json={"username": "aNNA", "password": PASSWORD})
    assert answer.status_code == 409 and answer.json()["code"] == "already_exists"


@pytest.mark.parametrize("password", ["short", "a" * 300, "passwordpassword", "111111111111"])
async def test_weak_passwords_are_refused(http: httpx.AsyncClient, password: str) -> None:
    answer = await http.post("/auth/register", json={"username": "anna", "password": password})
    assert answer.status_code == 422 and answer.json()["errors"][0]["pointer"] == "/password"
    assert password not in answer.text


async def test_unknown_name_and_wrong_password_are_answered_alike(http: httpx.AsyncClient) -> None:
    await join(http)
    wrong = await http.post("/auth/login", json={"username": "anna", "password": "x" * 20})
    unknown = await http.post("/auth/login", json={"username": "nobody", "password": "x" * 20})
    assert wrong.status_code == unknown.status_code == 401 and wrong.json()["detail"] == unknown.json()["detail"]


async def test_refresh_rotates_and_reuse_ends_the_family(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.api_gateway.service.GRACE_S", 0.0)
    first = await join(http)
    second = (await refresh(http, first["refresh_token"])).json()
    assert second["refresh_token"] != first["refresh_token"]
    assert (await refresh(http, first["refresh_token"])).status_code == 401
    assert (await refresh(http, second["refresh_token"])).status_code == 401
    assert (await http.get("/auth/me", headers=bearer(second))).status_code == 401


async def test_twenty_parallel_refreshes_get_one_successor(http: httpx.AsyncClient) -> None:
    pair = await join(http)
    answers = await asyncio.gather(*(refresh(http, pair["refresh_token"]) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["refresh_token"] for answer in answers}) == 1


@pytest.mark.parametrize(
    "token", ["", "nrt_", "nrt_x.0.y", "nrt_ses_1.-1.x", "nrt_ses_1.99999999999999.x", "é", "a" * 500]
)
async def test_invented_refresh_tokens(http: httpx.AsyncClient, token: str) -> None:
    assert (await refresh(http, token)).status_code == 401


async def test_a_refresh_token_is_no_access_token(http: httpx.AsyncClient) -> None:
    pair = await join(http)
    answer = await http.get("/auth/me", headers={"Authorization": f"Bearer {pair['refresh_token']}"})
    assert answer.status_code == 401


async def test_the_cookie_is_for_our_own_page(http: httpx.AsyncClient) -> None:
    await join(http)
    answer = await http.post("/auth/login", json={"username": "anna", "password": PASSWORD, "cookie": True})
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "samesite=strict" in cookie.lower() and "Path=/auth" in cookie
    assert answer.json()["refresh_token"] is None
    foreign = await http.post("/auth/refresh", json={}, headers={"Sec-Fetch-Site": "cross-site"})
    assert foreign.status_code == 403
    assert (await http.post("/auth/refresh", json={})).status_code == 200


async def test_logout_and_disabling_end_tokens_at_once(http: httpx.AsyncClient) -> None:
    admin, user = await join(http, "admin"), await join(http, "user")
    user_id = (await http.get("/auth/me", headers=bearer(user))).json()["id"]
    assert (await http.post("/auth/logout", headers=bearer(user))).status_code == 204
    assert (await http.get("/auth/me", headers=bearer(user))).status_code == 401
    again = (await http.post("/auth/login", json={"username": "user", "password": PASSWORD})).json()
    changed = await http.patch(f"/auth/users/{user_id}", json={"disabled": True}, headers=bearer(admin))
    assert changed.json()["disabled"] is True
    assert (await http.get("/auth/me", headers=bearer(again))).status_code == 401
    assert (await refresh(http, again["refresh_token"])).status_code == 401
    assert (await http.post("/auth/login", json={"username": "user", "password": PASSWORD})).status_code == 401


async def test_the_last_admin_stays(http: httpx.AsyncClient) -> None:
    admin = await join(http, "admin")
    me = (await http.get("/auth/me", headers=bearer(admin))).json()["id"]
    for change in ({"role": "user"}, {"disabled": True}):
        assert (await http.patch(f"/auth/users/{me}", json=change, headers=bearer(admin))).status_code == 409
    assert (await http.delete(f"/auth/users/{me}", headers=bearer(admin))).status_code == 409


async def test_ones_own_account_goes_only_with_the_password_and_not_the_last_admins(http: httpx.AsyncClient) -> None:
    admin, user = await join(http, "admin"), await join(http, "user")
    for pair, password, status in ((user, "not the pass phrase", 422), (admin, PASSWORD, 409)):
        answer = await http.request("DELETE", "/auth/me", json={"password": password}, headers=bearer(pair))
        assert answer.status_code == status, answer.text
        assert (await http.get("/auth/me", headers=bearer(pair))).status_code == 200
    assert (await http.request("DELETE", "/auth/me", headers=bearer(user))).status_code == 422


async def test_changing_the_password_ends_other_sessions(http: httpx.AsyncClient) -> None:
    here = await join(http)
    there = (await http.post("/auth/login", json={"username": "anna", "password": PASSWORD})).json()
    body = {"current_password": PASSWORD, "new_password": "quite another pass phrase"}
    assert (await http.post("/auth/password", json=body, headers=bearer(here))).status_code == 204
    assert (await http.get("/auth/me", headers=bearer(here))).status_code == 200
    assert (await http.get("/auth/me", headers=bearer(there))).status_code == 401
    body["current_password"] = "wrong"
    assert (await http.post("/auth/password", json=body, headers=bearer(here))).status_code == 422


async def test_personal_tokens_cannot_widen_themselves(http: httpx.AsyncClient) -> None:
    pair = await join(http)
    body = {"name": "script", "scopes": ["account"]}
    made = (await http.post("/auth/tokens", json=body, headers=bearer(pair))).json()
    script = {"Authorization": f"Bearer {made['token']}"}
    assert (await http.get("/auth/me", headers=script)).status_code == 200
    assert (await http.post("/rag/search", json={"query": "x"}, headers=script)).status_code == 403
    wider = await http.post("/auth/tokens", json={"name": "wider", "scopes": ["memory"]}, headers=script)
    assert wider.status_code == 403
    listed = (await http.get("/auth/tokens", headers=bearer(pair))).json()["data"]
    assert [each["name"] for each in listed] == ["script"] and "token" not in listed[0]
    assert (await http.delete(f"/auth/tokens/{made['id']}", headers=bearer(pair))).status_code == 204
    assert (await http.get("/auth/me", headers=script)).status_code == 401


async def test_brute_force_is_slowed(app: FastAPI, http: httpx.AsyncClient) -> None:
    await join(http)
    app.state.identity_service._account_limit = type(app.state.identity_service._account_limit)("tight", 3, 60)
    answers = [await http.post("/auth/login", json={"username": "anna", "password": "x" * 20}) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [401, 401, 401, 429, 429]
    assert int(answers[-1].headers["retry-after"]) >= 1


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"username": 1}', b"\xff\xfe", b'{"username":"a","password":"' + b"x" * 5000]
)
async def test_bad_bodies_are_problems(http: httpx.AsyncClient, body: bytes) -> None:
    answer = await http.post("/auth/login", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert {"type", "title", "status", "detail", "instance", "code", "request_id", "errors"} <= set(problem)
    assert problem["request_id"] == answer.headers["x-request-id"]


async def test_errors_and_headers_of_the_edge(http: httpx.AsyncClient) -> None:
    lost = await http.get("/auth/nothing", headers={"X-Request-Id": "mine-1", "Accept": "application/json"})
    assert lost.status_code == 404 and lost.headers["x-request-id"] == "mine-1"
    assert (await http.put("/auth/login")).status_code == 405
    big = await http.post("/auth/login", content=b"x" * (3 * 1024**2))
    assert big.status_code == 413 and big.json()["code"] == "too_large"
    lying = await http.post("/auth/login", content=b"{}", headers={"Content-Length": "-5"})
    assert lying.status_code == 400
    assert lost.headers["x-content-type-options"] == "nosniff" and lost.headers["cache-control"] == "no-store"
