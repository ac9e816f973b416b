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
