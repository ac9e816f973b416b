"""What every message on the wire has in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Generic, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict

Item = TypeVar("Item")


def _in_utc(at: datetime) -> datetime:
    try:
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except OverflowError as error:
        raise ValueError("before the year 1 or after the year 9999") from error


Moment = Annotated[datetime, AfterValidator(_in_utc)]
"""A point in time, in UTC once it is here; without an offset it is taken as UTC."""


class Wire(BaseModel):
    """A message that we send: unknown fields are ignored, so that either side may be newer."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class Request(BaseModel):
    """A message that a client sends: unknown fields are refused, so that a typo is no silent default."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, str_max_length=1_000_000)


class Page(Wire, Generic[Item]):
    """One page of a list in stable order."""

    data: list[Item]
    next_cursor: str | None = None
    """Give it back as `?cursor=` for the next page; opaque."""
    has_more: bool = False


def page_of(found: Sequence[Item], limit: int, id_of: Callable[[Item], str]) -> Page[Item]:
    """One page from a list that was asked for one item more than it shows."""
    more = len(found) > limit
    data = list(found[:limit])
    return Page(data=data, next_cursor=id_of(data[-1]) if more else None, has_more=more)
