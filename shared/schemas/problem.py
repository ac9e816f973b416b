"""Errors on the wire (RFC 9457)."""

from __future__ import annotations

from pydantic import Field

from shared.schemas.wire import Wire


class FieldError(Wire):
    """One value that was refused."""

    pointer: str
    """JSON pointer into the request, for example `/username`."""
    detail: str


class Problem(Wire):
    """The body of every error answer, `application/problem+json`."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    """Stable word for programs, for example `not_found`."""
    request_id: str
    errors: list[FieldError] = Field(default_factory=list)
