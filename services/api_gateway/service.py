"""Identity: who may come in, with what, and for how long."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.requests import HTTPConnection

from services.api_gateway.devices import device_of
from services.api_gateway.repository import Accounts, fold, user_of
from services.api_gateway.settings import Settings
from shared.auth.passwords import Passwords, check_strength
from shared.auth.principal import ALL_SCOPES, Principal
from shared.auth.tokens import UserTokens
from shared.crypto.envelope import derive
from shared.errors import Conflict, Forbidden, Invalid, NotFound, Unauthenticated
from shared.schemas.identity import (
    AccessTokenCreated,
    ChangePassword,
    EditUser,
    NewAccessToken,
    Register,
    Session,
    TokenPair,
    User,
)
from shared.schemas.ids import new_id
from shared.security.limits import Limit, RateLimiter
from shared.storage.redis import Store

GRACE_S = 10.0
"""A refresh token shown twice within this time gives the same successor: two tabs, or an answer that was lost."""
TICKET_S = 30
LINK_S = 900
_PREFIXES: dict[str, str | None] = {
    "transcription": "recordings",
    "rag": "memory",
    "gemma": "chat",
    "voice": "chat",  # and two more, which `Voices` asks for
    "emotion": "emotion",
    "jobs": "jobs",
    "events": "jobs",
    "queue": "admin",
    "gpu": "jobs",
    "auth": "account",
    "admin": "admin",
    "sync": None,  # needs several; the route looks
    "v1/audio": "recordings",
    "v1/audio/speech": "speech",
    "v1/audio/voices": "speech",
    "v1/chat": "chat",
    "v1/embeddings": "memory",
    "v1/models": None,  # programs look there first, whatever they may do then
    "api/v1/transcribe": "recordings",
}


def scope_of(path: str) -> str | None:
    """The scope that a route needs, by the longest known beginning of its path; unknown ones need `account`."""
    parts = path.strip("/").split("/")
    for count in range(min(3, len(parts)), 0, -1):
        start = "/".join(parts[:count])
        if start in _PREFIXES:
            return _PREFIXES[start]
    return "account"


def _ticket_key(ticket: str) -> str:
    return f"ticket:{hashlib.sha256(ticket.encode()).hexdigest()}"


class RefreshReused(Unauthenticated):
    """This session has ended: its refresh token was used twice."""

    code = "refresh_reused"

    def __init__(self, session_id: str) -> None:
        super().__init__("This session has ended; sign in again.")
        self.session_id = session_id


def audio_path(transcript_id: str) -> str:
    return f"/transcription/{transcript_id}/audio"


class Identity:
    """Accounts, sessions and tokens."""

    def __init__(self, settings: Settings, accounts: Accounts, store: Store, tokens: UserTokens, secret: str) -> None:
        self._settings, self.accounts, self._store, self._tokens = settings, accounts, store, tokens
        self._refresh_key = derive(secret, "nemo refresh tokens v1")
        pepper = derive(secret, "nemo password pepper v1").hex()
        self._passwords = Passwords(pepper, rounds=settings.bcrypt_rounds)
        self._limiter = RateLimiter(store)
        self._user_limit = Limit("user", settings.requests_per_minute, 60)
        self._account_limit = Limit("sign-in", settings.sign_ins_per_minute, 60)
        self._address_limit = Limit("address", settings.sign_ins_per_minute * 3, 60)

    # -- coming in

    async def register(self, request: Register) -> User:
        check_strength(request.password, request.username)
        hashed = await self._passwords.hash(request.password)
        may_join = self._settings.registration_open
        try:
            return await self.accounts.add_user(new_id("usr"), request.username, hashed, may_join=may_join)
        except NotFound as error:
            raise Forbidden(error.detail) from error

    def id_of(self, username: str) -> str | None:
        row = self.accounts.with_name(username)
        return None if row is None else str(row["id"])

    async def limit_sign_in(self, connection: HTTPConnection, username: str) -> None:
        """Raises RateLimited."""
        address = connection.client.host if connection.client else "unknown"
        connection.state.rate_headers = {}
        headers = connection.state.rate_headers
        await self._limiter.check(self._address_limit, address, headers)
        account = hashlib.sha256(fold(username).encode()).hexdigest()[:32]
        await self._limiter.check(self._account_limit, account, headers)

    async def login(self, username: str, password: str, user_agent: str | None = None) -> TokenPair:
        """The same work and the same answer for an unknown name and a wrong password."""
        row = self.accounts.with_name(username)
        good = await self._passwords.matches(password, None if row is None else row["password_hash"])
        if not good or row is None or row["disabled"]:
            raise Unauthenticated("The user name or the password is wrong.")
        session_id, now = new_id("ses"), time.time()
        ends = now + self._settings.refresh_life_s
        await self.accounts.add_session(session_id, row["id"], now, ends, device_of(user_agent))
        return self._pair(row["id"], row["role"], session_id, 0)

    def _pair(self, user_id: str, role: str, session_id: str, generation: int) -> TokenPair:
        life_s = self._settings.access_life_s
        access = self._tokens.issue("at+jwt", user_id, life_s=life_s, claims={"sid": session_id, "role": role})
        return TokenPair(
            access_token=access, refresh_token=self._refresh_token(session_id, generation), expires_in=life_s
        )

    def _refresh_token(self, session_id: str, generation: int) -> str:
        """`nrt_<session>.<generation>.<mac>`: its successor can be told again without being stored."""
        mac = hmac.new(self._refresh_key, f"{session_id}.{generation}".encode(), hashlib.sha256).digest()
        return f"nrt_{session_id}.{generation}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"

    async def refresh(self, token: str) -> TokenPair:
        """Rotates. A token shown again after the grace ends its whole session: somebody else has it."""
        session_id, generation = self._read_refresh(token)
        now = time.time()

        def rotate(db: Any) -> tuple[Any, int | None] | None:
            row = db.execute(
                "SELECT session.*, user.role, user.disabled FROM session JOIN user ON user.id = user_id"
                " WHERE session_id = ? AND expires_at > ?",
                (session_id, now),
            ).fetchone()
            if row is None or row["disabled"]:
                return None
            if generation == row["generation"]:
                db.execute(
                    "UPDATE session SET generation = ?, rotated_at = ?, expires_at = ? WHERE session_id = ?",
                    (generation + 1, now, now + self._settings.refresh_life_s, session_id),
                )
                return row, generation + 1
            if generation == row["generation"] - 1 and now - row["rotated_at"] <= GRACE_S:
                return row, row["generation"]
            db.execute("DELETE FROM session WHERE session_id = ?", (session_id,))
            return row, None

        found = await self.accounts.change(rotate)
        if found is None:
            raise Unauthenticated("This session has ended; sign in again.")
        row, current = found
        if current is None:
            raise RefreshReused(session_id)
        return self._pair(row["user_id"], row["role"], session_id, current)

    def _read_refresh(self, token: str) -> tuple[str, int]:
        session_id, _, rest = token.removeprefix("nrt_").partition(".")
        generation, _, _ = rest.partition(".")
        if len(token) > 200 or not generation.isascii() or not generation.isdigit() or len(generation) > 9:
            raise Unauthenticated
        if not hmac.compare_digest(self._refresh_token(session_id, int(generation)).encode(), token.encode()):
            raise Unauthenticated
        return session_id, int(generation)

    # -- every request

    async def authenticate(self, connection: HTTPConnection, token: str) -> Principal:
        """Who calls, checked against the accounts as they are now, within the scope and the rate allowed."""
        principal = self.allowed(token, connection.scope["path"])
        connection.state.rate_headers = {}
        await self._limiter.check(self._user_limit, principal.user_id, connection.state.rate_headers)
        return principal

    async def redeem(self, connection: HTTPConnection, ticket: str) -> Principal:
        """Who was given this one-use ticket. Raises Unauthenticated."""
        found = await self._store.take(_ticket_key(ticket))
        if found is None:
            raise Unauthenticated("This ticket was used or is too old; ask for another one.")
        user_id, _, session_id = found.partition(" ")
        principal = self.still(Principal(user_id, session_id=session_id), connection.scope["path"])
        connection.state.rate_headers = {}
        await self._limiter.check(self._user_limit, principal.user_id, connection.state.rate_headers)
        return principal

    def still(self, principal: Principal, path: str) -> Principal:
        """The same user as the accounts are now, for sockets that outlive a first look. Raises Unauthenticated."""
        shown = principal.session_id or ""
        if shown.startswith("ses_"):
            now = self._of_session(shown, principal.user_id)
        else:
            row = self.accounts.token(shown)
            now = self._of_token(row)
        return self._scoped(now, path)

    def allowed(self, token: str, path: str) -> Principal:
        """Who a token stands for, if it may be used for this path. Raises Unauthenticated, Forbidden."""
        return self._scoped(self._personal(token) if token.startswith("npt_") else self._session(token), path)

    def _scoped(self, principal: Principal, path: str) -> Principal:
        needed = scope_of(path)
        if needed not in (None, "admin") and needed not in principal.scopes:
            raise Forbidden(f"This token does not have the scope {needed!r}.")
        return principal

    def _session(self, token: str) -> Principal:
        claims = self._tokens.verify(token, "at+jwt")
        return self._of_session(str(claims.get("sid", "")), str(claims["sub"]))

    def _of_session(self, session_id: str, user_id: str) -> Principal:
        row = self.accounts.live_session(session_id, user_id, time.time())
        if row is None:
            raise Unauthenticated
        scopes = ALL_SCOPES if row["role"] == "admin" else ALL_SCOPES - {"admin"}
        return Principal(row["id"], row["role"], scopes, session_id)

    def _personal(self, token: str) -> Principal:
        token_id, _, secret = token.removeprefix("npt_").partition(".")
        row = self.accounts.token(token_id) if len(token) < 200 else None
        digest = hashlib.sha256(secret.encode()).hexdigest()
        if row is None or not hmac.compare_digest(row["digest"], digest):
            raise Unauthenticated
        return self._of_token(row)

    def _of_token(self, row: Any) -> Principal:
        if row is None or row["disabled"]:
            raise Unauthenticated
        if row["expires_at"] is not None and datetime.fromisoformat(row["expires_at"]) <= datetime.now(UTC):
            raise Unauthenticated("This token has expired; make a new one.")
        allowed = ALL_SCOPES if row["role"] == "admin" else ALL_SCOPES - {"admin"}
        return Principal(row["user_id"], row["role"], frozenset(row["scopes"].split()) & allowed, row["id"])

    # -- one's own account

    async def logout(self, principal: Principal) -> None:
        if principal.session_id is not None and principal.session_id.startswith("ses_"):
            await self.accounts.end_session(principal.session_id)

    def sessions(self, principal: Principal) -> list[Session]:
        return self.accounts.sessions(principal.user_id, time.time(), principal.session_id)

    async def knows(self, principal: Principal, password: str) -> bool:
        """Whether it is the account's password."""
        row = self.accounts.one("SELECT password_hash FROM user WHERE id = ?", principal.user_id)
        return await self._passwords.matches(password, None if row is None else row["password_hash"])

    async def check_change(self, principal: Principal, change: ChangePassword) -> None:
        """Raises Invalid where the current password is wrong or the new one will not do."""
        if not await self.knows(principal, change.current_password):
            raise Invalid("The current password is wrong.")
        check_strength(change.new_password, self.accounts.user(principal.user_id).username)

    async def change_password(self, principal: Principal, change: ChangePassword) -> None:
        """What `check_change` let pass; every other session ends."""
        hashed = await self._passwords.hash(change.new_password)
        await self.accounts.set_password(principal.user_id, hashed, principal.session_id)

    async def set_password(self, username: str, password: str) -> None:
        """For the operator's command line: every session of the user ends."""
        row = self.accounts.with_name(username)
        if row is None:
            raise NotFound(f"There is no user {username!r}.")
        check_strength(password, username)
        await self.accounts.set_password(row["id"], await self._passwords.hash(password), None)

    async def make_token(self, principal: Principal, new: NewAccessToken) -> AccessTokenCreated:
        """A personal token; it cannot have more than the token that makes it."""
        wider = sorted(set(new.scopes) - principal.scopes)
        if wider:
            raise Forbidden(f"You cannot give away {', '.join(wider)}; your own scopes are {sorted(principal.scopes)}.")
        token_id, secret, now = new_id("pat"), secrets.token_urlsafe(32), datetime.now(UTC)
        expires = None if new.expires_in_days is None else now + timedelta(days=new.expires_in_days)
        digest = hashlib.sha256(secret.encode()).hexdigest()
        values = (
            token_id,
            principal.user_id,
            new.name,
            digest,
            " ".join(sorted(set(new.scopes))),
            expires.isoformat() if expires else None,
        )
        await self.accounts.change(
            lambda db: db.execute(
                "INSERT INTO access_token (id, user_id, name, digest, scopes, expires_at) VALUES (?, ?, ?, ?, ?, ?)",
                values,
            )
        )
        return AccessTokenCreated(
            id=token_id,
            name=new.name,
            scopes=sorted(set(new.scopes)),
            created_at=now,
            expires_at=expires,
            token=f"npt_{token_id}.{secret}",
        )

    async def ticket(self, principal: Principal) -> str:
        """Good once, for a WebSocket, for half a minute."""
        ticket = secrets.token_urlsafe(32)
        await self._store.put(_ticket_key(ticket), f"{principal.user_id} {principal.session_id or ''}", TICKET_S)
        return ticket

    def audio_link(self, principal: Principal, transcript_id: str) -> str:
        """The address of one recording's sound, for a player that sends no headers; read-only, for a quarter hour."""
        claims = {"sid": principal.session_id or "", "rec": transcript_id}
        link = self._tokens.issue("al+jwt", principal.user_id, life_s=LINK_S, claims=claims)
        return f"{audio_path(transcript_id)}?link={link}"

    async def follow(self, connection: HTTPConnection, link: str) -> Principal:
        """Whose link this is, if it leads here and its session has not ended. Raises Unauthenticated."""
        claims = self._tokens.verify(link, "al+jwt")
        path = connection.scope["path"]
        if path != audio_path(str(claims.get("rec"))):
            raise Unauthenticated("This link leads elsewhere; ask for a new one.")
        user_id, session_id = str(claims["sub"]), str(claims.get("sid", ""))
        principal = self.still(Principal(user_id, session_id=session_id), path)
        connection.state.rate_headers = {}
        await self._limiter.check(self._user_limit, principal.user_id, connection.state.rate_headers)
        return principal

    # -- administration

    async def edit_user(self, user_id: str, change: EditUser) -> User:
        user = self.accounts.user(user_id)
        loses = user.role == "admin" and not user.disabled and (change.role == "user" or change.disabled)
        if loses and self.accounts.admins() == 1:
            raise Conflict("This is the only administrator; make another one first.")
        return await self.accounts.set_user(user_id, change.model_dump(exclude_none=True))

    def refuse_last_admin(self, user_id: str) -> None:
        user = self.accounts.user(user_id)
        if user.role == "admin" and not user.disabled and self.accounts.admins() == 1:
            raise Conflict("This is the only administrator; make another one first.")

    def me(self, principal: Principal) -> User:
        row = self.accounts.one("SELECT * FROM user WHERE id = ?", principal.user_id)
        if row is None:
            raise Unauthenticated
        return user_of(row)
