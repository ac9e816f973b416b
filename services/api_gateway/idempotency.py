"""`Idempotency-Key`: a creating request that is sent twice is done once.

Per user and route, for 24 hours. The first answer is kept sealed (it may hold what a user wrote), the second request
with the same body gets it back; another body under the same key is refused.
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.crypto.envelope import seal, unseal
from shared.errors import Invalid, ProductError, StillRunning
from shared.problems import problem_response
from shared.storage.redis import Store

KEEP_S = 24 * 3600.0
RUNNING_S = 900.0
MAX_ANSWER_BYTES = 4 * 1024**2
ROUTES = frozenset(
    {"/transcription/upload", "/rag/memory", "/rag/rebuild-index", "/gemma/chat", "/auth/tokens", "/queue/task"}
)
_KEPT = (b"content-type", b"location", b"etag")


class Idempotency:
    """Around the creating POST routes; everything else passes through untouched."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        key = self._key(scope)
        if key is None:
            await self._app(scope, receive, send)
            return
        try:
            await self._once(key, scope, receive, send)
        except ProductError as error:
            await problem_response(error, scope["path"])(scope, receive, send)

    def _key(self, scope: Scope) -> str | None:
        """Where the answer is kept; None where there is nothing to do, or nobody to do it for."""
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] not in ROUTES:
            return None
        headers = Headers(scope=scope)
        sent = headers.get("idempotency-key", "")
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if not sent or len(sent) > 200 or scheme.lower() != "bearer":
            return None
        try:
            user = scope["app"].state.identity_service.principal_of(token)
        except ProductError:
            return None  # the route itself says so
        return "idem:" + hashlib.sha256(f"{user.user_id} {scope['path']} {sent}".encode()).hexdigest()

    async def _once(self, key: str, scope: Scope, receive: Receive, send: Send) -> None:
        state = scope["app"].state
        store: Store = state.store
        if not await store.claim(f"{key}:run", RUNNING_S):
            await self._again(state, key, receive, send)
            return
        answer = _Answer(receive, send)
        try:
            await self._app(scope, answer.receive, answer.send)
        finally:
            if answer.worth_keeping:
                await store.put(key, self._sealed(answer, state.idempotency_key), KEEP_S)
                await store.put(f"{key}:run", "done", KEEP_S)
            else:
                await store.delete(f"{key}:run")

    async def _again(self, state: Any, key: str, receive: Receive, send: Send) -> None:
        kept = await state.store.get(key)
        if kept is None:
            raise StillRunning
        body = json.loads(unseal(state.idempotency_key, base64.b64decode(kept)))
        if await _digest(receive) != body["digest"]:
            raise Invalid("This Idempotency-Key was used with another body.")
        headers = [(name.encode(), value.encode()) for name, value in body["headers"]]
        headers.append((b"idempotency-replayed", b"true"))
        await send({"type": "http.response.start", "status": body["status"], "headers": headers})
        await send({"type": "http.response.body", "body": base64.b64decode(body["body"])})

    def _sealed(self, answer: _Answer, key: bytes) -> str:
        body = {
            "digest": answer.digest.hexdigest(),
            "status": answer.status,
            "headers": [(name.decode(), value.decode()) for name, value in answer.headers if name in _KEPT],
            "body": base64.b64encode(answer.body).decode(),
        }
        return base64.b64encode(seal(key, json.dumps(body).encode())).decode()


class _Answer:
    """Watches one exchange: what was asked (as a digest) and what was answered."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self.digest = hashlib.sha256()
        self.status = 0
        self.headers: list[Any] = []
        self.body = b""
        self._whole = self._ended = False

    @property
    def worth_keeping(self) -> bool:
        return self._whole and self._ended and 200 <= self.status < 500 and self.status not in (401, 403, 409, 429)

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self.digest.update(message.get("body", b""))
            self._ended = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], list(message["headers"])
        elif message["type"] == "http.response.body" and len(self.body) <= MAX_ANSWER_BYTES:
            self.body += message.get("body", b"")
            self._whole = not message.get("more_body", False) and len(self.body) <= MAX_ANSWER_BYTES
        await self._send(message)


async def _digest(receive: Receive) -> str:
    digest = hashlib.sha256()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return ""
        digest.update(message.get("body", b""))
        if not message.get("more_body", False):
            return digest.hexdigest()
