"""The audit log: what it holds, who may read it, and that nobody changes it unseen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from services.api_gateway.audit import AuditLog
from services.api_gateway.repository import Accounts
from tests.gateway_house import PASSWORD, bearer, gateway, join, settings_for, started

KEY = b"k" * 32


@pytest.fixture
def app(tmp_path: Path) -> FastAPI:
    return gateway(settings_for(tmp_path))


@pytest.fixture
async def http(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with started(app) as client:
        yield client


async def entries(http: httpx.AsyncClient, admin: dict[str, Any], **params: Any) -> dict[str, Any]:
    answer = await http.get("/admin/audit", headers=bearer(admin), params=params)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_what_is_done_to_accounts_is_written_down(http: httpx.AsyncClient) -> None:
    admin = await join(http)
    bert = await join(http, "bert")
    wrong = {"username": "bert", "password": "not the pass phrase"}
    assert (await http.post("/auth/login", json=wrong)).status_code == 401
    made = await http.post("/auth/tokens", json={"name": "secret-name", "scopes": ["chat"]}, headers=bearer(bert))
    await http.delete(f"/auth/tokens/{made.json()['id']}", headers=bearer(bert))
    change = {"current_password": PASSWORD, "new_password": "quite another pass phrase"}
    await http.post("/auth/password", json=change, headers=bearer(bert))
    await http.patch(f"/auth/users/{bert['user_id']}", json={"disabled": True}, headers=bearer(admin))
    found = await entries(http, admin)
    assert [each["action"] for each in reversed(found["data"])] == [
        "registered", "signed_in", "registered", "signed_in", "sign_in_refused", "token_made", "token_deleted",
        "password_changed", "user_changed",
    ]  # fmt: skip
    newest = found["data"][0]
    assert (newest["actor"], newest["subject"]) == (admin["user_id"], bert["user_id"])
    assert newest["details"] == {"disabled": "true"} and newest["address"] == "127.0.0.1"
    assert found["verified"] is True and found["first_broken"] is None


async def test_nothing_that_was_typed_is_in_it(http: httpx.AsyncClient) -> None:
    admin = await join(http)
    typed = {"username": "my-own-password-by-mistake", "password": "the-wrong-password"}
    await http.post("/auth/login", json=typed)
    await http.post("/auth/token", data=typed)
    await http.post("/auth/tokens", json={"name": "secret-name", "scopes": ["chat"]}, headers=bearer(admin))
    text = str(await entries(http, admin))
    assert text.count("sign_in_refused") == 2
    assert not [word for word in ("mistake", "wrong-password", "secret-name", PASSWORD, "anna") if word in text]


async def test_a_stolen_refresh_token_is_noticed(http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.api_gateway.service.GRACE_S", 0.0)
    admin, bert = await join(http), await join(http, "bert")
    for status in (200, 401):
        answer = await http.post("/auth/refresh", json={"refresh_token": bert["refresh_token"]})
        assert answer.status_code == status
    newest = (await entries(http, admin))["data"][0]
    assert newest["action"] == "refresh_token_reused" and newest["subject"].startswith("ses_")


async def test_pages_are_whole_and_in_order(http: httpx.AsyncClient) -> None:
    admin = await join(http)
    for number in range(3):
        await join(http, f"user{number}")
    seen: list[int] = []
    cursor = None
    while True:
        found = await entries(http, admin, limit=3, **({"cursor": cursor} if cursor else {}))
        seen += [each["seq"] for each in found["data"]]
        if not found["has_more"]:
            break
        cursor = found["next_cursor"]
    assert seen == list(range(8, 0, -1))
    for bad in ("x", "-1", "1 OR 1", "9" * 30):
        assert (await http.get("/admin/audit", headers=bearer(admin), params={"cursor": bad})).status_code == 422


async def test_only_administrators_read_it(http: httpx.AsyncClient) -> None:
    admin, bert = await join(http), await join(http, "bert")
    assert (await http.get("/admin/audit", headers=bearer(bert))).status_code == 403
    new = {"name": "narrow", "scopes": ["account"]}
    narrow = (await http.post("/auth/tokens", json=new, headers=bearer(admin))).json()["token"]
    assert (await http.get("/admin/audit", headers={"Authorization": f"Bearer {narrow}"})).status_code == 403


@pytest.fixture
async def accounts(tmp_path: Path) -> AsyncIterator[Accounts]:
    made = Accounts(tmp_path / "users.db", "a" * 40)
    log = AuditLog(made, KEY)
    for number in range(6):
        await log.note("signed_in", actor=f"usr_{number}", address="10.0.0.1")
    yield made
    made.close()


TAMPERED = {
    "UPDATE audit SET actor = 'usr_9' WHERE seq = 3": 3,
    "UPDATE audit SET at = '2020-01-01T00:00:00.000+00:00' WHERE seq = 1": 1,
    'UPDATE audit SET details = \'{"a": "b"}\' WHERE seq = 6': 6,
    "UPDATE audit SET address = NULL WHERE seq = 2": 2,
    "DELETE FROM audit WHERE seq = 4": 4,
    "DELETE FROM audit WHERE seq = 1": 1,
    "DELETE FROM audit WHERE seq = 6": 6,
    "DELETE FROM audit": 1,
    "DELETE FROM audit_head": 7,
    "UPDATE audit_head SET seq = 5": None,
    "INSERT INTO audit SELECT 7, at, action, actor, subject, address, details, mac FROM audit WHERE seq = 6": 7,
}


@pytest.mark.parametrize("sql", TAMPERED)
async def test_whatever_is_changed_is_seen_and_stays_seen(accounts: Accounts, sql: str) -> None:
    log = AuditLog(accounts, KEY)
    assert (await log.page(10, None)).verified
    await accounts.change(lambda db: db.execute(sql))
    assert (await log.page(10, None)).first_broken == TAMPERED[sql]
    if TAMPERED[sql] is not None:
        await log.note("signed_in", actor="usr_7")
        assert not (await log.page(10, None)).verified


async def test_without_the_key_nobody_continues_it(accounts: Accounts) -> None:
    await AuditLog(accounts, b"x" * 32).note("user_changed", actor="usr_0")
    assert (await AuditLog(accounts, KEY).page(10, None)).first_broken == 7


async def test_many_at_once_make_one_chain(accounts: Accounts) -> None:
    log = AuditLog(accounts, KEY)
    await asyncio.gather(*(log.note("signed_in", actor=f"usr_{number}") for number in range(50)))
    found = await log.page(200, None)
    assert len(found.data) == 56 and found.verified


async def test_text_cannot_break_out_of_an_entry(accounts: Accounts) -> None:
    log, hostile = AuditLog(accounts, KEY), "x\n'); DROP TABLE audit; --\x00\u202e"
    await log.note("signed_in", actor=hostile, subject=hostile, address=hostile, role=hostile)
    found = await log.page(1, None)
    assert found.verified and found.data[0].actor == found.data[0].details["role"] == hostile
