"""How the services are."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from shared.schemas.wire import Wire


class Health(Wire):
    """One service; `checks` has a short word per dependency."""

    status: Literal["ok", "degraded", "down"]
    service: str
    version: str
    checks: dict[str, str] = Field(default_factory=dict)


class PlatformHealth(Wire):
    """The whole platform as the gateway sees it."""

    status: Literal["ok", "degraded", "down"]
    version: str
    first_run: bool
    """True while no user exists."""
    services: dict[str, str]


class Tus(Wire):
    """Resumable uploads by the protocol of https://tus.io."""

    version: str
    extensions: list[str]
    path: str
    max_bytes: int
    """Largest file."""


class ServerCard(Wire):
    """What a server says of itself to anybody."""

    product: Literal["nemo-server"] = "nemo-server"
    name: str
    """As its operator calls it."""
    version: str
    api_version: int
    registration_open: bool
    """Whether anybody may make an account; while there is none, the first one becomes the administrator."""
    first_run: bool
    features: list[str]
    tus: Tus
