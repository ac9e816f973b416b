"""`RateLimit` headers: what the limiter said of this request, on its answer."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class RateHeaders:
    """The authenticator leaves the headers in the request's state."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                told = scope.get("state", {}).get("rate_headers", {})
                pairs = [(name.lower().encode(), value.encode()) for name, value in told.items()]
                message["headers"] = [*message.get("headers", ()), *pairs]
            await send(message)

        await self._app(scope, receive, sending)
