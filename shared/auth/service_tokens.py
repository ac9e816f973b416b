"""One service calling another: an Ed25519-signed token per call.

python-jose has no EdDSA, so these are PyJWT's; the same checks of outer form come first. Each service holds only its
own private key, so one compromised container cannot speak for another (SECURITY.md, layer 3).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from fastapi import FastAPI

from shared.auth.principal import ALL_SCOPES, Caller, Principal
from shared.auth.tokens import require_timely, well_formed_header
from shared.errors import StorageFailed, Unauthenticated
from shared.settings import SERVICE_PORTS, ServiceSettings
from shared.storage.redis import Store

KIND = "svc+jwt"
ALGORITHM = "EdDSA"
LIFE_S = 60
MAKE_THEM = "`nemo up` makes the services' keys; for containers, docker/secrets/generate_secrets.sh does."


def generate_key(folder: Path, service: str) -> None:
    """Write `<service>.key` (mode 0600) and `<service>.pub` unless they are there."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    private_path = folder / f"{service}.key"
    if private_path.exists():
        return
    private = Ed25519PrivateKey.generate()
    (folder / f"{service}.pub").write_bytes(
        private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    private_path.touch(mode=0o600)
    private_path.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )


class ServiceIdentity:
    """Who this process is, and whose signatures it knows."""

    def __init__(self, service: str, private: Ed25519PrivateKey, known: Mapping[str, Ed25519PublicKey]) -> None:
        self.service = service
        self._private = private
        self._known = dict(known)

    @classmethod
    def from_settings(cls, service: str, settings: ServiceSettings) -> ServiceIdentity:
        """Keys of `<secrets>/service_keys`; in a container, which holds no other's, its own is `<secrets>/service_key`.

        FileNotFoundError where nobody has made them, ValueError where a file holds something else.
        """
        folder, alone = settings.secrets_folder / "service_keys", settings.secrets_folder / "service_key"
        own = alone if alone.is_file() else folder / f"{service}.key"
        private = _key(own, partial(serialization.load_pem_private_key, password=None), Ed25519PrivateKey)
        load = serialization.load_pem_public_key
        known = {name: _key(folder / f"{name}.pub", load, Ed25519PublicKey) for name in SERVICE_PORTS}
        return cls(service, private, known)

    @classmethod
    def ephemeral(cls, *services: str) -> dict[str, ServiceIdentity]:
        """Identities that know each other, in memory: for tests."""
        keys = {name: Ed25519PrivateKey.generate() for name in services or SERVICE_PORTS}
        public = {name: key.public_key() for name, key in keys.items()}
        return {name: cls(name, key, public) for name, key in keys.items()}

    def token_for(self, callee: str, user: Principal | None = None) -> str:
        """A token that `callee` alone accepts, once, within 60 seconds."""
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": self.service,
            "sub": self.service,
            "aud": callee,
            "iat": now,
            "exp": now + LIFE_S,
            "jti": secrets.token_hex(16),
        }
        if user is not None:
            claims |= {"user": user.user_id, "role": user.role, "scope": " ".join(sorted(user.scopes))}
        return jwt.encode(claims, self._private, algorithm=ALGORITHM, headers={"typ": KIND})

    def verify(self, token: str) -> tuple[Caller, str]:
        """The caller and the token's `jti`. Raises Unauthenticated."""
        well_formed_header(token, algorithm=ALGORITHM, kind=KIND)
        try:
            issuer = str(jwt.decode(token, options={"verify_signature": False}).get("iss"))
            claims = jwt.decode(
                token, self._known[issuer], algorithms=[ALGORITHM], audience=self.service, issuer=issuer, leeway=5
            )
        except Exception as error:  # whatever a parser of hostile input may raise, the caller is unknown
            raise Unauthenticated("This service takes calls from the platform's own services only.") from error
        require_timely(claims)
        return Caller(issuer, _user_of(claims)), str(claims["jti"])


def _key(path: Path, load: Callable[[bytes], Any], kind: type) -> Any:
    try:
        found = load(path.read_bytes())
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing. {MAKE_THEM}") from None
    except ValueError:
        raise ValueError(f"{path} is not a key in PEM. {MAKE_THEM}") from None
    if not isinstance(found, kind):
        raise ValueError(f"{path} is not an Ed25519 key. {MAKE_THEM}")
    return found


def _user_of(claims: Mapping[str, Any]) -> Principal | None:
    if "user" not in claims:
        return None
    role = claims.get("role")
    if role not in ("admin", "user"):
        raise Unauthenticated
    scopes = frozenset(str(claims.get("scope", "")).split()) & ALL_SCOPES
    return Principal(str(claims["user"]), role, scopes)


class ServiceDoor:
    """Decides who may call this service; a token is good for one call (replay cache)."""

    def __init__(self, identity: ServiceIdentity, seen: Store | None) -> None:
        """Without a `Store`, replays within the 60 seconds are not noticed by other processes of this service."""
        self._identity = identity
        self._seen = seen
        self._here: dict[str, float] = {}

    async def admit(self, token: str) -> Caller:
        caller, jti = self._identity.verify(token)
        if not self._first_here(jti) or not await self._first_anywhere(jti):
            raise Unauthenticated("This call was already made.")
        return caller

    async def _first_anywhere(self, jti: str) -> bool:
        """While Redis is away the memory of this process has to do: leases must not end because a doorbell is gone."""
        if self._seen is None:
            return True
        try:
            return await self._seen.claim(f"svc:{jti}", LIFE_S + 10)
        except StorageFailed:
            return True

    def _first_here(self, jti: str) -> bool:
        now = time.monotonic()
        if len(self._here) > 10_000:
            self._here = {key: until for key, until in self._here.items() if until > now}
        if self._here.get(jti, 0.0) > now:
            return False
        self._here[jti] = now + LIFE_S + 10
        return True


def trust_for_tests(app: FastAPI, caller: str = "api-gateway") -> Callable[..., dict[str, str]]:
    """Let a service made in a test accept calls; the result makes headers: `headers(user_id="usr_...")`."""
    identities = ServiceIdentity.ephemeral()
    callee = app.state.service_name
    app.state.door = ServiceDoor(identities[callee], None)

    def headers(user_id: str | None = None, role: Any = "user", service: str = caller) -> dict[str, str]:
        user = Principal(user_id, role) if user_id else None
        return {"Authorization": f"Bearer {identities[service].token_for(callee, user)}"}

    return headers
