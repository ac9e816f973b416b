"""Where memories may go: judged by the address that a connection really goes to, at the moment it is made."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from shared.errors import EgressRefused, Invalid

Place = tuple[str, int]
"""A host, in small letters, and a port."""


def places(text: str) -> frozenset[Place]:
    """The allow-list of `GEMMA_EGRESS`. Raises Invalid."""
    entries = [entry.strip() for entry in text.split(",") if entry.strip()]
    if entries == ["none"]:
        return frozenset()
    return frozenset(_place(entry) for entry in entries)


def _place(entry: str) -> Place:
    try:
        parts = urlsplit(f"//{entry}")
        if parts.hostname and parts.port and parts.netloc == entry:
            return parts.hostname, parts.port
    except ValueError:
        pass
    raise Invalid(f"GEMMA_EGRESS takes `none` or host:port, several separated by commas; {entry!r} is neither.")


@dataclass
class Gate:
    """Watches over the connections of one request: its `socket` makes each, once the name has become an address."""

    place: Place
    """As the operator wrote it in the URL."""
    allowed: frozenset[Place]
    private: bool
    """The request carries something of a vault."""
    refused: str | None = None
    """The address that it was not let to."""

    def socket(self, info: tuple[Any, Any, int, str, tuple[Any, ...]]) -> socket.socket:
        """Raises PermissionError, an OSError like any address that cannot be reached; `refused` tells it apart."""
        family, kind, protocol, _, address = info
        if self.private and not self.lets_to(str(address[0])):
            self.refused = str(address[0])
            raise PermissionError("memories do not leave this machine")
        return socket.socket(family, kind, protocol)

    def lets_to(self, address: str) -> bool:
        return is_loopback(address) or not self.allowed.isdisjoint((self.place, (address, self.place[1])))

    def refusal(self) -> EgressRefused:
        host, port = self.place
        shown = f"[{host}]" if ":" in host else host
        return EgressRefused(
            f"Memories do not leave this machine: the language model's server {shown}:{port} is at {self.refused}. The"
            f" operator may allow it with GEMMA_EGRESS={shown}:{port}; without memories it answers as it is."
        )


def is_loopback(address: str) -> bool:
    found = ipaddress.ip_address(address.partition("%")[0])
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return (mapped or found).is_loopback
