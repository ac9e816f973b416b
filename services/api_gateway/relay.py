"""Bytes through the gateway: uploads, audio and server-sent events, never held in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
from fastapi import Request
from fastapi.responses import StreamingResponse

from shared.auth.principal import Principal
from shared.clients import ServiceClient

_REQUEST_HEADERS = ("content-type", "content-length", "range", "if-match", "if-none-match", "last-event-id", "accept")
_ANSWER_HEADERS = (
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


async def relay(
    client: ServiceClient,
    request: Request,
    user: Principal,
    *,
    path: str | None = None,
    params: Mapping[str, Any] | None = None,
    body: bytes | None = None,
) -> StreamingResponse:
    """The service's answer to this request, streamed both ways. Raises what the service raised."""
    content: AsyncIterator[bytes] | bytes | None = body
    headers = {name: value for name in _REQUEST_HEADERS if (value := request.headers.get(name))}
    if body is None and request.method in ("POST", "PUT", "PATCH"):
        content = request.stream()
    else:
        headers.pop("content-length", None)
    stack = AsyncExitStack()
    try:
        answer = await stack.enter_async_context(
            client.stream(
                request.method,
                path or request.url.path,
                user=user,
                content=content,
                headers=headers,
                params=params or dict(request.query_params),
            )
        )
    except BaseException:
        await stack.aclose()
        raise
    passed = {name: value for name in _ANSWER_HEADERS if (value := answer.headers.get(name))}
    return StreamingResponse(_body(answer, stack), status_code=answer.status, headers=passed)


async def _body(answer: aiohttp.ClientResponse, stack: AsyncExitStack) -> AsyncIterator[bytes]:
    async with stack:
        async for chunk in answer.content.iter_any():
            yield chunk
