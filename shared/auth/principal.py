"""Who is calling."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Role = Literal["admin", "user"]

ALL_SCOPES = frozenset({"recordings", "memory", "chat", "emotion", "speech", "jobs", "account", "admin"})
"""What a personal token may be narrowed to; a signed-in session has all that its role allows."""


@dataclass(frozen=True)
class Principal:
    """A user, and what this token of theirs allows."""

    user_id: str
    role: Role = "user"
    scopes: frozenset[str] = field(default=ALL_SCOPES)
    session_id: str | None = None
    """The session or personal token that was shown; None in calls between services."""


@dataclass(frozen=True)
class Caller:
    """A service, and the user it speaks for if any."""

    service: str
    user: Principal | None = None
