"""How services call each other: a deadline, the request id, a service token and errors as themselves."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, ClassVar, Self

import aiohttp

from shared import tracing
from shared.auth.principal import Principal
from shared.auth.service_tokens import ServiceIdentity
from shared.errors import Busy, DeadlineExceeded, NotFound, ProductError, UpstreamUnavailable, from_problem
from shared.logging import request_id
from shared.settings import ServiceSettings

Content = AsyncIterable[bytes] | bytes | aiohttp.MultipartWriter | aiohttp.FormData | None
_CONNECT_S = 2.0
_POOL_S = 10.0
"""How long a call waits for one of the connections, of which there are `CONNECTIONS`."""
CONNECTIONS = 256
SOCKET_BYTES = 1024**2
"""Largest message of a WebSocket."""
_PATH = re.compile(r"(?:/[A-Za-z0-9_][A-Za-z0-9_.:@-]{0,127})+")
"""An id that a client made up must not become another path (`..`), a query or a fragment of the call."""


class ServiceClient:
    """One service as seen by another. Make it once, share it, close it with the process (`async with`)."""

    service: ClassVar[str]

    def __init__(self, settings: ServiceSettings, identity: ServiceIdentity) -> None:
        self.url = settings.url_of(self.service)
        self._identity = identity
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def json(
        self,
        method: str,
        path: str,
        *,
        user: Principal | None,
        body: Any = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        deadline_s: float = 30,
    ) -> Any:
        """The decoded JSON answer, None for 204. Raises what the service raised, or UpstreamUnavailable."""
        content = None if body is None else json.dumps(body).encode()
        extra = dict(headers or {}) | ({"Content-Type": "application/json"} if content is not None else {})
        async with self.stream(
            method, path, user=user, content=content, params=params, headers=extra, deadline_s=deadline_s
        ) as answer:
            raw = await answer.read()
            return json.loads(raw) if raw else None

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        user: Principal | None,
        content: Content = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        deadline_s: float | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer with its body unread; its status is below 400. `deadline_s` None: as long as bytes flow.

        Raises NotFound for a path that holds anything but plain segments.
        """
        if not _PATH.fullmatch(path):
            raise NotFound
        timeout = aiohttp.ClientTimeout(total=deadline_s, connect=_POOL_S, sock_connect=_CONNECT_S)
        span = tracing.begun(f"{method} {self.service}", "client", server__address=self.service)
        try:
            async with self._open().request(
                method,
                self.url + path,
                data=content,
                params=_plain(params),
                headers=self._headers(user, headers, span.traceparent),
                timeout=timeout,
                allow_redirects=False,
            ) as answer:
                span.note(http__response__status_code=answer.status)
                if answer.status >= 400:
                    raise await self._error_of(answer)
                yield answer
        except aiohttp.ConnectionTimeoutError as error:
            raise self._full() from error
        except TimeoutError as error:
            raise DeadlineExceeded(f"The {self.service} service took longer than allowed.") from error
        except (aiohttp.ClientError, ConnectionError) as error:
            raise UpstreamUnavailable(f"The {self.service} service does not answer; try again in a moment.") from error
        finally:
            span.end()

    @asynccontextmanager
    async def socket(self, path: str, *, user: Principal) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """An open WebSocket. Raises what the service raised, or UpstreamUnavailable."""
        headers = self._headers(user, None, tracing.current())
        timeout = aiohttp.ClientWSTimeout(ws_close=5)
        try:
            async with self._open().ws_connect(
                self.url + path, headers=headers, timeout=timeout, max_msg_size=SOCKET_BYTES, autoping=True
            ) as open_socket:
                yield open_socket
        except aiohttp.WSServerHandshakeError as error:
            raise UpstreamUnavailable(f"The {self.service} service refused a call of the platform.") from error
        except aiohttp.ConnectionTimeoutError as error:
            raise self._full() from error
        except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
            raise UpstreamUnavailable(f"The {self.service} service does not answer; try again in a moment.") from error

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS, keepalive_timeout=20),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=300, connect=_POOL_S, sock_connect=_CONNECT_S),  # of sockets
            )
        return self._session

    def _full(self) -> Busy:
        return Busy(f"The {self.service} service takes no more calls just now; try again in a moment.", retry_after_s=5)

    def _headers(
        self, user: Principal | None, extra: Mapping[str, str] | None, traceparent: str | None
    ) -> dict[str, str]:
        token = self._identity.token_for(self.service, user)
        traced = {"traceparent": traceparent} if traceparent else {}
        return {**(extra or {}), **traced, "Authorization": f"Bearer {token}", "X-Request-Id": request_id.get()}

    async def _error_of(self, answer: aiohttp.ClientResponse) -> ProductError:
        try:
            body = json.loads(await asyncio.wait_for(answer.content.read(65_536), 5))
        except (ValueError, TimeoutError):
            return UpstreamUnavailable(f"The {self.service} service answered {answer.status}.")
        # Our own token being refused is a fault of the house, not of the user who called.
        if answer.status == 401:
            return UpstreamUnavailable(f"The {self.service} service refused a call of the platform.")
        retry = answer.headers.get("Retry-After", "")
        return from_problem(body, status=answer.status, retry_after_s=float(retry) if retry.isdigit() else None)


def _plain(params: Mapping[str, Any] | None) -> list[tuple[str, str]] | None:
    """Query parameters without the absent ones; lists become repeated names."""
    if params is None:
        return None
    pairs: list[tuple[str, str]] = []
    for name, value in params.items():
        every = value if isinstance(value, list | tuple) else [value]
        pairs.extend((name, str(each)) for each in every if each is not None)
    return pairs
