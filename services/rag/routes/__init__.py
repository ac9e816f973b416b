"""HTTP of the memory service."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, TypeVar

from fastapi import Depends, Query, Request

from services.rag.service import Library
from shared.schemas.wire import Page

Item = TypeVar("Item")
Limit = Annotated[int, Query(ge=1, le=200)]
Cursor = Annotated[str | None, Query(max_length=64)]


async def the_library(request: Request) -> Library:
    library: Library = request.app.state.library
    return library


TheLibrary = Annotated[Library, Depends(the_library)]


def page_of(found: Sequence[Item], limit: int, id_of: Callable[[Item], str]) -> Page[Item]:
    """One page from a list that was asked for one item more than it shows."""
    more = len(found) > limit
    data = list(found[:limit])
    return Page(data=data, next_cursor=id_of(data[-1]) if more else None, has_more=more)
