"""Who is calling: users, sessions and tokens."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from shared.schemas.wire import Request, Wire

Role = Literal["admin", "user"]
Username = Annotated[str, StringConstraints(pattern=r"^[\w][\w.@+-]{2,63}$", strip_whitespace=True)]
Password = Annotated[str, StringConstraints(min_length=1, max_length=1024)]


class Credentials(Request):
    username: Annotated[str, StringConstraints(min_length=1, max_length=256, strip_whitespace=True)]
    password: Password
    cookie: bool = False
    """True: the refresh token also comes as an HttpOnly cookie, for web pages."""


class Register(Request):
    username: Username
    password: Password


class User(Wire):
    id: str
    username: str
    role: Role
    disabled: bool = False
    created_at: datetime | None = None


class Registered(Wire):
    user: User


class TokenPair(Wire):
    access_token: str
    refresh_token: str | None = None
    """None when it was set as a cookie."""
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - the name of a scheme
    expires_in: int
    """Seconds that the access token lives."""


class RefreshRequest(Request):
    refresh_token: str | None = None
    """Absent: the cookie is used."""


class ChangePassword(Request):
    current_password: Password
    new_password: Password


class NewAccessToken(Request):
    name: Annotated[str, StringConstraints(min_length=1, max_length=100, strip_whitespace=True)]
    scopes: Annotated[list[str], Field(min_length=1, max_length=20)]
    expires_in_days: Annotated[int, Field(ge=1, le=3650)] | None = 90


class AccessToken(Wire):
    id: str
    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None


class AccessTokenCreated(AccessToken):
    token: str
    """Shown once; only its hash is kept."""


class EditUser(Request):
    role: Role | None = None
    disabled: bool | None = None


class Ticket(Wire):
    ticket: str
    expires_in: int = 30
