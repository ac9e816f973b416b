"""HTTP of the memory service."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query, Request

from services.rag.deliveries import Deliveries
from services.rag.reading import Reading
from services.rag.service import Library
from shared.multipart import MultipartBody

Limit = Annotated[int, Query(ge=1, le=200)]
Cursor = Annotated[str | None, Query(max_length=64)]


async def the_library(request: Request) -> Library:
    library: Library = request.app.state.library
    return library


async def the_reading(request: Request) -> Reading:
    reading: Reading = request.app.state.reading
    return reading


async def multipart_body(request: Request) -> MultipartBody:
    return MultipartBody(request.headers.get("content-type", ""), request.stream())


async def the_deliveries(request: Request) -> Deliveries:
    deliveries: Deliveries = request.app.state.deliveries
    return deliveries


Body = Annotated[MultipartBody, Depends(multipart_body)]
TheLibrary = Annotated[Library, Depends(the_library)]
TheReading = Annotated[Reading, Depends(the_reading)]
TheDeliveries = Annotated[Deliveries, Depends(the_deliveries)]
