"""`Idempotency-Key`: a creating request that is sent twice is done once.

Per user and route, for 24 hours. The first answer is kept sealed (it may hold what a user wrote), the second request
with the same body gets it back; another body under the same key is refused.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.crypto.envelope import WrongKey, derive, seal, unseal
from shared.errors import BadRequest, Invalid, ProductError, StillRunning
from shared.problems import problem_response
from shared.storage.redis import Store

KEEP_S = 24 * 3600.0
RUNNING_S = 60.0
"""A gateway that died is noticed after this time; one that lives renews its claim."""
MAX_ANSWER_BYTES = 4 * 1024**2
ROUTES = frozenset(
    {
        "/transcription/upload",
        "/api/v1/transcribe",
        "/rag/memory",
        "/rag/documents",
        "/rag/rebuild-index",
        "/gemma/chat",
        "/auth/tokens",
        "/queue/task",
    }
)
_KEY = re.compile(r"[\x21-\x7e]{1,200}")
_BOUNDARY = re.compile(r'boundary="?([^";,\s]{1,200})"?', re.IGNORECASE)
_KEPT = (b"content-type", b"location", b"etag", b"x-message-id")


class Idempotency:
    """Around the creating POST routes; everything else passes through untouched."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            key = _key(scope)
            if key is None:
                await self._app(scope, receive, send)
            else:
                await self._once(key, scope, receive, send)
        except ProductError as error:
            await problem_response(error, scope["path"])(scope, receive, send)

    async def _once(self, key: str, scope: Scope, receive: Receive, send: Send) -> None:
        state = scope["app"].state
        store: Store = state.store
        ours = await store.claim(f"{key}:run", RUNNING_S)
        kept = await store.get(key)
        if kept is not None:
            await _again(base64.b64decode(kept), state.idempotency_key, scope, receive, send)
        elif not ours:
            raise StillRunning("The first call with this Idempotency-Key is still at work.", retry_after_s=2)
        else:
            async with _claimed(store, f"{key}:run"):
                exchange = _Exchange(scope, receive, send)
                await exchange.run(self._app)
                if exchange.worth_keeping:
                    with suppress(ProductError):  # the answer is sent already; only the memory of it is lost
                        answer_key = _answer_key(state.idempotency_key, scope, exchange.digest)
                        await store.put(key, _sealed(exchange, answer_key), KEEP_S)


def _key(scope: Scope) -> str | None:
    """Where the answer is kept; None where there is nothing to do, or nobody to do it for."""
    if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] not in ROUTES:
        return None
    headers = Headers(scope=scope)
    sent = headers.get("idempotency-key")
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if sent is None or scheme.lower() != "bearer":
        return None
    try:
        user = scope["app"].state.identity_service.allowed(token.strip(), scope["path"])
    except ProductError:
        return None  # the route itself says so
    if not _KEY.fullmatch(sent):
        raise BadRequest("Idempotency-Key takes 1 to 200 visible ASCII characters.")
    return "idem:" + hashlib.sha256(f"{user.user_id} {scope['path']} {sent}".encode()).hexdigest()


@asynccontextmanager
async def _claimed(store: Store, key: str) -> AsyncIterator[None]:
    """Keeps the claim alive for as long as the work takes, and gives it back."""

    async def renew() -> None:
        while True:
            await asyncio.sleep(RUNNING_S / 3)
            with suppress(ProductError):
                await store.put(key, "1", RUNNING_S)

    renewing = asyncio.create_task(renew())
    try:
        yield
    finally:
        renewing.cancel()
        with suppress(ProductError):  # the answer is sent already; the claim ends by itself
            await store.delete(key)


async def _again(sealed: bytes, secret: bytes, scope: Scope, receive: Receive, send: Send) -> None:
    digest = BodyDigest(scope)
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return
        digest.update(message.get("body", b""))
        if not message.get("more_body", False):
            break
    try:
        kept = json.loads(unseal(_answer_key(secret, scope, digest), sealed))
    except WrongKey:
        raise Invalid("This Idempotency-Key was used with another body.") from None
    headers = [(name.encode(), value.encode("latin-1")) for name, value in kept["headers"]]
    headers.append((b"idempotency-replayed", b"true"))
    await send({"type": "http.response.start", "status": kept["status"], "headers": headers})
    await send({"type": "http.response.body", "body": base64.b64decode(kept["body"])})


def _answer_key(secret: bytes, scope: Scope, digest: BodyDigest) -> bytes:
    """Of what only the client knows too: an answer may hold what lies in a sealed vault."""
    sent = Headers(scope=scope)["idempotency-key"]
    return derive(secret + hashlib.sha256(f"{digest.value()} {sent}".encode()).digest(), "nemo idempotent answers v2")


def _sealed(exchange: _Exchange, key: bytes) -> str:
    body = {
        "status": exchange.status,
        "headers": [(name.decode(), value.decode("latin-1")) for name, value in exchange.headers if name in _KEPT],
        "body": base64.b64encode(exchange.body).decode(),
    }
    return base64.b64encode(seal(key, json.dumps(body).encode())).decode()


class BodyDigest:
    """What was sent. The boundary of a form is left out: a client that repeats itself draws another one."""

    def __init__(self, scope: Scope) -> None:
        found = _BOUNDARY.search(Headers(scope=scope).get("content-type", ""))
        self._boundary = found.group(1).encode("latin-1") if found else b""
        self._hash = hashlib.sha256()
        self._rest = b""

    def update(self, chunk: bytes) -> None:
        if not self._boundary:
            self._hash.update(chunk)
            return
        *whole, rest = (self._rest + chunk).split(self._boundary)
        for part in whole:
            self._hash.update(part)
        cut = max(0, len(rest) - len(self._boundary) + 1)  # the boundary may end in the next chunk
        self._hash.update(rest[:cut])
        self._rest = rest[cut:]

    def value(self) -> str:
        ended = self._hash.copy()
        ended.update(self._rest)
        return ended.hexdigest()


class _Exchange:
    """One exchange, watched: what was asked (as a digest) and what was answered.

    Once the body has come, a client that leaves does not stop the work: it will ask again, and then the answer is here.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self.digest = BodyDigest(scope)
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""
        self._whole = self._ended = self._gone = False

    @property
    def worth_keeping(self) -> bool:
        return (
            self._whole
            and self._ended
            and 200 <= self.status < 500
            and self.status not in (401, 403, 409, 413, 423, 429)
        )

    async def run(self, app: ASGIApp) -> None:
        await app(self._scope, self.receive, self.send)

    async def receive(self) -> Message:
        if self._ended:
            await asyncio.Event().wait()
        message = await self._receive()
        if message["type"] == "http.request":
            self.digest.update(message.get("body", b""))
            self._ended = not message.get("more_body", False)
        elif message["type"] == "http.disconnect":
            self._gone = True  # nothing more will come: the server says so again at once, for as often as it is asked
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], list(message["headers"])
            while not self._ended and not self._gone:  # a route that takes no body has not read it
                await self.receive()
        elif message["type"] == "http.response.body" and len(self.body) <= MAX_ANSWER_BYTES:
            self.body += message.get("body", b"")
            self._whole = not message.get("more_body", False) and len(self.body) <= MAX_ANSWER_BYTES
        with suppress(OSError):
            await self._send(message)
