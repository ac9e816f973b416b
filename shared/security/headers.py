"""Security headers on every answer of the edge."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

CSP = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "media-src 'self' blob:",
        "font-src 'self'",
        "connect-src 'self'",
        "worker-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)

HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), payment=(), usb=(), microphone=(self)",
}
PRIVATE = "no-store"
_RAW = [(name.lower().encode(), value.encode()) for name, value in {**HEADERS, "Cache-Control": PRIVATE}.items()]
_DROPPED = (b"x-user-id", b"x-user-role", b"x-service-token")


class SecurityHeaders:
    """Adds the headers; answers are not stored by caches unless the route says so.

    It also drops request headers by which a client might pose as the inside of the house.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        scope["headers"] = [pair for pair in scope["headers"] if not _poses_as_inside(pair[0])]

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers: list[tuple[bytes, bytes]] = list(message.get("headers", ()))
                there = {name.lower() for name, _ in headers}
                message["headers"] = headers + [pair for pair in _RAW if pair[0] not in there]
            await send(message)

        await self._app(scope, receive, sending)


def _poses_as_inside(name: bytes) -> bool:
    return name in _DROPPED or name.startswith(b"x-internal-")
