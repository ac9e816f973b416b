"""Limits on the head of a request, which uvicorn's quick parser does not have."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 64 * 1024
"""Most bytes of a request's line and headers."""
HEAD_S = 20.0
"""Longest time that a client may take to send them, in seconds."""


class BoundedHttp(HttpToolsProtocol):
    """Refuses a head that is too long (431) or too slow (408)."""

    _head_bytes = 0
    _in_head = True
    _ended = False
    _alarm: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._arm()
        began_in_head, self._ended = self._in_head, False
        super().data_received(data)
        # Data that ended a message was mostly its body, however much of it came at once.
        if began_in_head and self._in_head and not self._ended and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self._refuse(b"431 Request Header Fields Too Large")

    def on_headers_complete(self) -> None:
        self._in_head, self._head_bytes = False, 0
        self._disarm()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_head = self._ended = True

    def _arm(self) -> None:
        if self._alarm is None:
            self._alarm = self.loop.call_later(HEAD_S, self._too_slow)

    def _disarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _too_slow(self) -> None:
        """Also ends a connection over which nothing ever came."""
        self._alarm = None
        self._refuse(b"408 Request Timeout")

    def _refuse(self, status: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._head_bytes and (self.cycle is None or self.cycle.response_complete):
            self.transport.write(b"HTTP/1.1 " + status + b"\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        self.transport.close()
