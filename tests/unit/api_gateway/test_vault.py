"""Locks of vaults at the gateway: two stores that know one password, guesses, and answers that are kept."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.api_gateway.clients import Clients
from services.api_gateway.vault import VaultLocks
from shared.auth.principal import Principal
from shared.auth.service_tokens import ServiceIdentity
from shared.crypto.envelope import WrongKey, unseal
from shared.crypto.passphrase import Cost
from shared.errors import StorageFailed, UpstreamUnavailable
from shared.schemas.identity import ChangePassword
from shared.schemas.vault import DoorState
from shared.storage.keyring import MemoryKeyring
from tests.gateway_house import PASSWORD, bearer, gateway, join, settings_for, started

NEW = "quite another pass phrase"
NOBODY = {"rag_url": "http://127.0.0.1:9", "transcription_url": "http://127.0.0.1:9"}


@pytest.fixture
def ring() -> MemoryKeyring:
    return MemoryKeyring(Cost(1024, 1, 1))


@pytest.fixture
async def app(tmp_path: Path, ring: MemoryKeyring) -> Any:
    return gateway(settings_for(tmp_path, sign_ins_per_minute=6, **NOBODY), keyring=ring)


@pytest.fixture
async def http(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with started(app) as client:
        yield client


async def test_guesses_are_counted_like_sign_ins(http: httpx.AsyncClient, ring: MemoryKeyring) -> None:
    pair = await join(http)
    await ring.seal(pair["user_id"], PASSWORD)
    calls = [("unlock", {"password": "wrong"}), ("unlock", {"recovery_code": "AAAA"}), ("unseal", {"password": "wrong"}),
             ("recovery", {"password": "wrong"}), ("seal", {"password": "wrong"}), ("unlock", {"password": "w"})]  # fmt: skip
    answers = [await http.post(f"/vault/{path}", json=body, headers=bearer(pair)) for path, body in calls]
    assert [each.status_code for each in answers] == [422] * 6
    assert "retry-after" in (last := await http.post("/vault/unlock", json=calls[0][1], headers=bearer(pair))).headers
    assert last.status_code == 429 and "RateLimit" in last.headers


async def test_a_service_that_is_away_is_named_and_seals_all_the_same(
    http: httpx.AsyncClient, ring: MemoryKeyring
) -> None:
    pair = await join(http)
    sealed = await http.post("/vault/seal", json={"password": PASSWORD}, headers=bearer(pair))
    assert sealed.status_code == 201 and (await ring.row(pair["user_id"])).sealed
    for path, body in (("unlock", {"password": PASSWORD}), ("lock", None)):
        answer = await http.post(f"/vault/{path}", json=body, headers=bearer(pair))
        assert answer.status_code == 502 and "rag" in answer.json()["detail"]
    signed_in = await http.post("/auth/login", json={"username": "anna", "password": PASSWORD})
    assert signed_in.status_code == 200, "who cannot be unlocked can still sign in"


async def test_a_narrow_token_turns_no_lock(http: httpx.AsyncClient) -> None:
    pair = await join(http)
    body = {"name": "x", "scopes": ["memory"]}
    token = (await http.post("/auth/tokens", json=body, headers=bearer(pair))).json()["token"]
    for method, path in (("GET", "/vault"), ("POST", "/vault/lock"), ("POST", "/vault/seal")):
        answer = await http.request(method, path, headers={"Authorization": f"Bearer {token}"}, json={"password": "x"})
        assert answer.status_code == 403


async def test_accounts_that_fail_in_the_middle_leave_the_old_password(
    app: Any, http: httpx.AsyncClient, ring: MemoryKeyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = await join(http)
    key, _ = await ring.seal(pair["user_id"], PASSWORD)
    locks: VaultLocks = app.state.vault_locks
    user, change = Principal(pair["user_id"]), ChangePassword(current_password=PASSWORD, new_password=NEW)

    async def full(*_: Any) -> None:
        raise StorageFailed

    with monkeypatch.context() as broken:
        broken.setattr(app.state.identity_service.accounts, "set_password", full)
        with pytest.raises(StorageFailed):
            await locks.change_password(user, change)
    assert (await ring.row(user.user_id)).by_next_password is not None
    assert await ring.by_password(user.user_id, PASSWORD, accepted=False) == key
    await locks.signed_in("anna", PASSWORD)  # the old one signs in, so it alone opens
    assert (await ring.row(user.user_id)).by_next_password is None
    await locks.change_password(user, change)
    assert await ring.by_password(user.user_id, NEW, accepted=False) == key
    assert (await http.post("/auth/login", json={"username": "anna", "password": NEW})).status_code == 200


async def test_of_two_services_the_locked_one_counts(tmp_path: Path, ring: MemoryKeyring) -> None:
    app = gateway(settings_for(tmp_path, **NOBODY), keyring=ring)
    async with started(app) as http:
        user = Principal((await join(http))["user_id"])
        await ring.seal(user.user_id, PASSWORD)
        clients = Clients(settings_for(tmp_path, **NOBODY), ServiceIdentity.ephemeral()["api-gateway"])
        doors = {"rag": False, "transcription": True}

        def door(name: str) -> Any:
            async def answer(_user: Principal) -> DoorState:
                return DoorState(locked=doors[name], waiting=1, public_key="AAAA")

            return answer

        for each in (clients.rag, clients.transcription):
            each.door = door(each.service)  # type: ignore[method-assign]
        locks = VaultLocks(ring, clients, app.state.identity_service)
        state = await locks.state(user)
        assert (state.mode, state.locked, state.waiting) == ("sealed", True, 2)
        doors["transcription"] = False
        assert not (await locks.state(user)).locked
        with pytest.raises(UpstreamUnavailable):
            await locks.lock(user)
        await clients.close()


async def test_kept_answers_open_only_with_what_the_client_sent(http: httpx.AsyncClient, app: Any) -> None:
    """A stolen Redis and the session secret do not give away what an answer said."""
    pair = await join(http)
    body = {"name": "zanzibarquetzal", "scopes": ["memory"]}
    headers = bearer(pair) | {"Idempotency-Key": "one"}
    first = await http.post("/auth/tokens", json=body, headers=headers)
    assert (await http.post("/auth/tokens", json=body, headers=headers)).json() == first.json()
    assert (await http.post("/auth/tokens", json=body | {"name": "y"}, headers=headers)).status_code == 422
    kept = [value for key, value in _values(app.state.store) if key.startswith("idem:") and not key.endswith(":run")]
    assert kept
    for each in kept:
        with pytest.raises(WrongKey):
            unseal(app.state.idempotency_key, base64.b64decode(each))


def _values(store: Any) -> list[tuple[str, str]]:
    return [(key, value[0] if isinstance(value, tuple) else value) for key, value in store._values.items()]
