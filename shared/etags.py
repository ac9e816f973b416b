"""Revisions as entity tags: `ETag: W/"3"` and `If-Match` (RFC 9110, section 13.1.1)."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Depends, Header, Response

from shared.errors import PreconditionFailed

_TAG = re.compile(r'^(?:W/)?"(\d{1,9})"$')


def etag(revision: int) -> str:
    return f'W/"{revision}"'


def mark(response: Response, revision: int) -> None:
    response.headers["ETag"] = etag(revision)


async def if_match(if_match: Annotated[str | None, Header()] = None) -> int | None:
    """The revision that the caller has seen; None where it does not care. Raises PreconditionFailed."""
    if if_match is None or if_match.strip() == "*":
        return None
    found = _TAG.match(if_match.strip())
    if found is None:
        raise PreconditionFailed
    return int(found.group(1))


async def conditions(if_match: Annotated[str | None, Header()] = None) -> dict[str, str]:
    """`If-Match` as it came, to be passed on to the service that keeps the object."""
    return {"If-Match": if_match} if if_match else {}


IfMatch = Annotated[int | None, Depends(if_match)]
Conditions = Annotated[dict[str, str], Depends(conditions)]
