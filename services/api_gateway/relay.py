"""Bytes through the gateway: uploads, audio and server-sent events, never held in memory."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from fastapi.routing import APIRoute

from shared.auth.dependencies import classes_of, current_user
from shared.auth.principal import Principal
from shared.clients import ServiceClient

Handler = Callable[[Request], Coroutine[Any, Any, Response]]
_REQUEST_HEADERS = frozenset(
    (
        "content-type",
        "content-length",
        "range",
        "if-match",
        "if-none-match",
        "last-event-id",
        "accept",
        "x-nemo-memory",
        "x-nemo-conversation",
    )
)
_ANSWER_HEADERS = frozenset(
    (
        "content-type",
        "content-length",
        "content-range",
        "content-disposition",
        "accept-ranges",
        "etag",
        "location",
        "x-message-id",
        "x-accel-buffering",
    )
)
_KEPT_HERE = frozenset({"link"})
"""What lets a user in at the gateway is of no concern to a service."""
SMALL_BYTES = 64 * 1024
"""An answer up to this size is passed on in one piece, which costs half of what a stream does."""


class Relayed(APIRoute):
    """A route; where its function takes path parameters, `request`, `user` and `services` only, the short way to it.

    FastAPI's solving of dependencies and its reading and writing of JSON cost more than all else that passing on an
    answer needs (docs/adr/0007-relayed-answers.md). Documentation and classification are those of any other route.
    """

    def get_route_handler(self) -> Handler:
        needs, taken = self.dependant, set(inspect.signature(self.endpoint).parameters)
        parsed = needs.query_params or needs.header_params or needs.cookie_params or needs.body_params
        plain = (
            taken == {"request", "user", "services", *self.param_convertors} and needs.request_param_name == "request"
        )
        by_token = any(each.call is current_user for each in needs.dependencies)
        return (
            self._short_way
            if plain and by_token and not parsed and classes_of(needs) == {"user"}
            else super().get_route_handler()
        )

    async def _short_way(self, request: Request) -> Response:
        user = await current_user(request)
        services = request.app.state.clients
        answer: Response = await self.endpoint(**request.path_params, request=request, user=user, services=services)
        return answer


async def relay(
    client: ServiceClient, request: Request, user: Principal, *, body: bytes | None = None, path: str | None = None
) -> Response:
    """The service's answer to this request, streamed both ways. Raises what the service raised.

    `path` is the service's where it is not the gateway's; `body` is JSON.
    """
    content: AsyncIterator[bytes] | bytes | None = body
    headers = {name: value for name, value in request.headers.items() if name in _REQUEST_HEADERS}
    if body is None and request.method in ("POST", "PUT", "PATCH"):
        content = request.stream()
    else:
        headers.pop("content-length", None)
    if body is not None:
        headers.setdefault("content-type", "application/json")
    stack = AsyncExitStack()
    try:
        answer = await stack.enter_async_context(
            client.stream(
                request.method,
                path or request.scope["path"],
                user=user,
                content=content,
                headers=headers,
                params={
                    name: request.query_params.getlist(name) for name in request.query_params if name not in _KEPT_HERE
                },
            )
        )
    except BaseException:
        await stack.aclose()
        raise
    passed = {name: value for name, value in answer.headers.items() if name.lower() in _ANSWER_HEADERS}
    if answer.content_length is not None and answer.content_length <= SMALL_BYTES:
        async with stack:
            whole = await answer.read()
        return Response(whole, status_code=answer.status, headers=passed)
    return StreamingResponse(_body(answer, stack), status_code=answer.status, headers=passed)


async def _body(answer: aiohttp.ClientResponse, stack: AsyncExitStack) -> AsyncIterator[bytes]:
    async with stack:
        async for chunk in answer.content.iter_any():
            yield chunk
