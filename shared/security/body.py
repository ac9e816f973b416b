"""How large a body may be and how slowly it may come, decided before anything parses it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.errors import BadRequest, ProductError, TooLarge
from shared.problems import problem_response

Cap = Callable[[str], int]
"""Path to the most bytes its body may have."""
IDLE_S = 60.0
"""Longest pause inside a body, in seconds."""


class BodyLimit:
    """Refuses a lying or too long `Content-Length` at once, and counts what really comes."""

    def __init__(self, app: ASGIApp, cap: Cap) -> None:
        self._app = app
        self._cap = cap

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        cap = self._cap(scope["path"])
        try:
            _check_declared(scope, cap)
        except ProductError as error:
            await problem_response(error, scope["path"])(scope, receive, send)
            return
        await _Exchange(cap, receive, send).run(self._app, scope)


def _check_declared(scope: Scope, cap: int) -> None:
    lengths = [value for name, value in scope["headers"] if name == b"content-length"]
    if len(lengths) > 1 or any(not value.isdigit() for value in lengths):
        raise BadRequest("Content-Length must be one whole number.")
    if lengths and int(lengths[0][:20]) > cap:
        raise _too_large(cap)


def _too_large(cap: int) -> TooLarge:
    return TooLarge(f"The body is larger than the limit of {cap} bytes.")


class _Exchange:
    """One request. What reads the body may wrap our error in its own words, so the answer is ours to give."""

    def __init__(self, cap: int, receive: Receive, send: Send) -> None:
        self._cap, self._receive, self._send = cap, receive, send
        self._seen = 0
        self._more = True
        self._refused: ProductError | None = None
        self._started = False

    async def run(self, app: ASGIApp, scope: Scope) -> None:
        try:
            await app(scope, self.receive, self.send)
        except Exception:
            if self._refused is None or self._started:
                raise
        if self._refused is not None and not self._started:
            await problem_response(self._refused, scope["path"])(scope, self._receive, self._send)

    async def receive(self) -> Message:
        if not self._more:
            return await self._receive()
        try:
            async with asyncio.timeout(IDLE_S):
                message = await self._receive()
        except TimeoutError as error:
            raise self._refuse(BadRequest(f"Nothing of the body came for {IDLE_S:.0f} s.")) from error
        self._more = bool(message.get("more_body", False))
        self._seen += len(message.get("body", b""))
        if self._seen > self._cap:
            raise self._refuse(_too_large(self._cap))
        return message

    def _refuse(self, error: ProductError) -> ProductError:
        self._refused = error
        return error

    async def send(self, message: Message) -> None:
        if self._refused is not None and not self._started:
            return
        self._started = True
        await self._send(message)
