"""A hostile token is a 401, never a 500, and fast."""

from __future__ import annotations

import base64
import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jose import jwt

from shared.auth.principal import Principal
from shared.auth.service_tokens import ServiceDoor, ServiceIdentity
from shared.auth.tokens import AUDIENCE, ISSUER, UserTokens, key_id
from shared.errors import Unauthenticated
from shared.storage.redis import MemoryStore

KEY = "k" * 16 + "0123456789abcdef"
TOKENS = UserTokens(KEY)


def b64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def signed(claims: dict, *, key: str = KEY, **headers: str) -> str:
    header = {"typ": "at+jwt", "kid": key_id(KEY)} | headers
    return jwt.encode(claims, key, algorithm="HS256", headers=header)


def good(**changes: object) -> dict:
    now = int(time.time())
    claims = {"sub": "usr_1", "iss": ISSUER, "aud": AUDIENCE, "iat": now, "exp": now + 60, "jti": "1"}
    return {k: v for k, v in (claims | changes).items() if v is not None}


def test_a_token_of_ours_is_accepted() -> None:
    assert TOKENS.verify(TOKENS.issue("at+jwt", "usr_1", life_s=60), "at+jwt")["sub"] == "usr_1"
    assert TOKENS.verify(signed(good()), "at+jwt")["sub"] == "usr_1"


def test_the_previous_key_verifies_while_rotating() -> None:
    old = TOKENS.issue("at+jwt", "usr_1", life_s=60)
    rotated = UserTokens("n" * 16 + "fedcba9876543210", KEY)
    assert rotated.verify(old, "at+jwt")
    with pytest.raises(Unauthenticated):
        UserTokens("n" * 16 + "fedcba9876543210").verify(old, "at+jwt")


def test_short_keys_do_not_start() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        UserTokens("short")


HOSTILE = {
    "empty": "",
    "dots": "..",
    "two parts": "a.b",
    "huge": "a" * 5000 + ".b.c",
    "not ascii": "é.b.c",
    "alg none": f"{b64(json.dumps({'alg': 'none', 'typ': 'at+jwt', 'kid': key_id(KEY)}).encode())}."
    f"{b64(json.dumps(good()).encode())}.",
    "nested": f"{b64(b'[' * 900)}.{b64(b'{}')}.x",
    "nested body": f"{signed(good()).split('.')[0]}.{b64(b'[' * 2000)}.{b64(b'x')}",
    "wrong key": signed(good(), key="z" * 40),
    "wrong kid": signed(good(), kid="0" * 16),
    "crit": signed(good(), crit="b64"),
    "wrong typ": signed(good(), typ="rt+jwt"),
    "expired": signed(good(exp=int(time.time()) - 1)),
    "future": signed(good(iat=int(time.time()) + 3600)),
    "no exp": signed(good(exp=None)),
    "no aud": signed(good(aud=None)),
    "wrong aud": signed(good(aud="other")),
    "aud list": signed(good(aud=[AUDIENCE, "other"])),
    "no jti": signed(good(jti=None)),
    "float exp": signed(good(exp=time.time() + 60)),
    "bool iat": signed(good(iat=True)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_tokens_are_refused(name: str) -> None:
    with pytest.raises(Unauthenticated):
        TOKENS.verify(HOSTILE[name], "at+jwt")


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="abcXYZ019._-=", max_size=300) | st.text(max_size=100))
def test_any_text_is_refused(text: str) -> None:
    with pytest.raises(Unauthenticated):
        TOKENS.verify(text, "at+jwt")


async def test_service_tokens_are_for_one_callee_and_one_call() -> None:
    identities = ServiceIdentity.ephemeral("rag", "gemma", "emotion")
    user = Principal("usr_1", "user")
    token = identities["gemma"].token_for("rag", user)
    door = ServiceDoor(identities["rag"], MemoryStore())
    caller = await door.admit(token)
    assert caller.service == "gemma" and caller.user and caller.user.user_id == "usr_1"
    with pytest.raises(Unauthenticated):
        await door.admit(token)
    with pytest.raises(Unauthenticated):
        identities["emotion"].verify(identities["gemma"].token_for("rag"))
    with pytest.raises(Unauthenticated):
        identities["rag"].verify(TOKENS.issue("at+jwt", "usr_1", life_s=60))


def test_a_service_cannot_speak_for_another() -> None:
    ours, theirs = ServiceIdentity.ephemeral("rag", "gemma"), ServiceIdentity.ephemeral("rag", "gemma")
    with pytest.raises(Unauthenticated):
        ours["rag"].verify(theirs["gemma"].token_for("rag"))
