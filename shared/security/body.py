"""How large a body may be, decided before anything parses it."""

from __future__ import annotations

from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.errors import BadRequest, ProductError, TooLarge
from shared.problems import problem_response

Cap = Callable[[str], int]
"""Path to the most bytes its body may have."""


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
        await self._app(scope, _counting(receive, cap), send)


def _check_declared(scope: Scope, cap: int) -> None:
    lengths = [value for name, value in scope["headers"] if name == b"content-length"]
    if len(lengths) > 1 or any(not value.isdigit() for value in lengths):
        raise BadRequest("Content-Length must be one whole number.")
    if lengths and int(lengths[0][:20]) > cap:
        raise TooLarge(f"The body is larger than the limit of {cap} bytes.")


def _counting(receive: Receive, cap: int) -> Receive:
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        if message["type"] == "http.request":
            seen += len(message.get("body", b""))
            if seen > cap:
                raise TooLarge(f"The body is larger than the limit of {cap} bytes.")
        return message

    return counted
