"""Who is calling: users, sessions and tokens."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from shared.schemas.wire import Page, Request, Wire

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


class DeleteAccount(Request):
    password: Password
    """The account's, once more."""


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


class Session(Wire):
    """One sign-in and everything refreshed from it."""

    id: str
    device: str
    """What it called itself when it signed in, shortened; anybody may call themselves anything."""
    created_at: datetime
    last_used_at: datetime
    """When it was last refreshed; while in use that is every quarter of an hour or less."""
    expires_at: datetime
    current: bool
    """True for the one that asks."""


class AuditEntry(Wire):
    """Something that was done to accounts, sessions or tokens."""

    seq: int
    at: datetime
    action: str
    """For example `signed_in` or `user_changed`."""
    actor: str | None = None
    """Id of the user who did it; None where nobody was signed in."""
    subject: str | None = None
    """Id of the user, session or token that it was done to."""
    address: str | None = None
    details: dict[str, str] = Field(default_factory=dict)


class AuditPage(Page[AuditEntry]):
    """The newest first."""

    verified: bool
    """True where the whole log is as it was written; false where somebody changed it."""
    first_broken: int | None = None
    """Number of the first entry that was changed, or is missing."""


class Ticket(Wire):
    ticket: str
    expires_in: int = 30


class BackupRecord(Wire):
    at: datetime
    archive: str = ""
    """The name of the file, without its folder."""


class Backups(Wire):
    """What is known of backups; None where it never happened on this machine."""

    made: BackupRecord | None = None
    verified: BackupRecord | None = None
    """Every byte was read and compared."""
    drilled: BackupRecord | None = None
    """All of it was restored, for practice, and its vaults were opened."""
