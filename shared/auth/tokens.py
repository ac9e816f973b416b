"""User tokens: python-jose, with every check made before and after the library.

By itself python-jose 3.5 accepts an empty HMAC key, an unknown `crit`, a DER public key as an HMAC secret, a future
`iat` and a missing `exp` or `aud`, and nested brackets make it raise RecursionError. So nothing reaches it that has
not passed `_well_formed`, and whatever it raises is an `Unauthenticated`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import time
from collections.abc import Mapping
from typing import Any, Literal

from jose import jwt

from shared.errors import Unauthenticated
from shared.schemas.ids import new_id

TokenType = Literal["at+jwt", "rt+jwt", "al+jwt"]
"""Access, refresh, and a link to the sound of one recording."""

ALGORITHM = "HS256"
MAX_TOKEN_BYTES = 4096
MAX_HEADER_CHARS = 512
MIN_KEY_BYTES = 32
CLOCK_SKEW_S = 30
MOST_VERIFIED = 10_000
"""Tokens remembered as verified, by their hash."""
ISSUER = "nemo-server"
AUDIENCE = "nemo-api"
_REQUIRED = ("exp", "iat", "sub", "aud", "iss", "jti")
_HEADER_KEYS = {"alg", "typ", "kid"}


def key_id(key: str) -> str:
    """A short public name for a secret key, the same in every process that holds it."""
    return hashlib.sha256(b"kid:" + key.encode()).hexdigest()[:16]


class UserTokens:
    """Signs with the primary key; verifies with it and, while rotating, others: those before and the one to come.

    Raises ValueError at start where a key is shorter than 32 bytes.
    """

    def __init__(self, primary: str, previous: str | None = None) -> None:
        self._verified: dict[bytes, dict[str, Any]] = {}
        self.exchange(primary, previous)

    def exchange(self, primary: str, previous: str | None = None) -> None:
        """Other keys from now on; `previous` may hold several, separated by white space. Raises ValueError."""
        found = (primary, *(previous or "").split())
        if any(len(key.encode()) < MIN_KEY_BYTES for key in found):
            raise ValueError(f"A signing key needs at least {MIN_KEY_BYTES} bytes.")
        self._keys = {key_id(key): key for key in found}
        self._primary_id = key_id(primary)
        self._verified.clear()  # a key that is gone verifies nothing, also not what it verified before

    def issue(self, kind: TokenType, user_id: str, *, life_s: int, claims: Mapping[str, Any] | None = None) -> str:
        """A signed token that is valid for `life_s` seconds from now."""
        now = int(time.time())
        body = {
            **(claims or {}),
            "sub": user_id,
            "iss": ISSUER,
            "aud": AUDIENCE,
            "iat": now,
            "exp": now + life_s,
            "jti": new_id("tok"),
        }
        headers = {"typ": kind, "kid": self._primary_id}
        return str(jwt.encode(body, self._keys[self._primary_id], algorithm=ALGORITHM, headers=headers))

    def verify(self, token: str, kind: TokenType) -> dict[str, Any]:
        """The claims. Raises Unauthenticated for anything that is not a live token of ours of that kind.

        A signature that was found good stays good, so it is checked once; the time is looked at every time.
        """
        seen = hashlib.sha256(f"{kind} {token}".encode(errors="replace")).digest()
        claims = self._verified.get(seen)
        if claims is None:
            claims = self._checked(token, kind)
            if len(self._verified) >= MOST_VERIFIED:
                self._verified.clear()
            self._verified[seen] = claims
        require_timely(claims)
        return dict(claims)

    def _checked(self, token: str, kind: TokenType) -> dict[str, Any]:
        header = well_formed_header(token, algorithm=ALGORITHM, kind=kind)
        key = self._keys.get(str(header.get("kid")))
        if key is None:
            raise Unauthenticated
        try:
            claims = jwt.decode(token, key, algorithms=[ALGORITHM], audience=AUDIENCE, issuer=ISSUER, options=_OPTIONS)
        except Exception as error:  # whatever a parser of hostile input may raise, the caller is not signed in
            raise Unauthenticated from error
        return dict(claims)


_OPTIONS = {f"require_{name}": True for name in _REQUIRED} | {"leeway": 0}


def well_formed_header(token: str, *, algorithm: str, kind: str) -> dict[str, Any]:
    """The header of a token whose outer form is sound; nothing is trusted yet. Raises Unauthenticated."""
    if not isinstance(token, str) or len(token) > MAX_TOKEN_BYTES or not token.isascii() or token.count(".") != 2:
        raise Unauthenticated
    first, body, signature = token.split(".")
    if not first or not body or not signature or len(first) > MAX_HEADER_CHARS:
        raise Unauthenticated
    header = _flat_json(first)
    if set(header) - _HEADER_KEYS or header.get("alg") != algorithm or header.get("typ") != kind:
        raise Unauthenticated
    if _depth(_decoded(body)) > 3:
        raise Unauthenticated
    return header


def require_timely(claims: Mapping[str, Any]) -> None:
    """Numbers where numbers belong, issued in the past, all of them there. Raises Unauthenticated."""
    if any(name not in claims for name in _REQUIRED):
        raise Unauthenticated
    issued, expires = claims["iat"], claims["exp"]
    if type(issued) is not int or type(expires) is not int or not isinstance(claims["aud"], str):
        raise Unauthenticated
    now = time.time()
    if issued > now + CLOCK_SKEW_S or expires <= now:
        raise Unauthenticated


def _decoded(segment: str) -> bytes:
    try:
        return base64.b64decode(segment + "=" * (-len(segment) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise Unauthenticated from error


def _flat_json(segment: str) -> dict[str, Any]:
    raw = _decoded(segment)
    if _depth(raw) > 1:
        raise Unauthenticated
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise Unauthenticated from error
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise Unauthenticated
    return value


def _depth(raw: bytes) -> int:
    """An upper bound on how deep JSON nests, counted without parsing it."""
    deepest = depth = 0
    for byte in raw:
        if byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest
