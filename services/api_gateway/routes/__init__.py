"""The public routes. They are the public API document, so each is typed."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Query, Request

from services.api_gateway.clients import Clients
from services.api_gateway.service import Identity
from shared.schemas.problem import Problem


async def the_identity(request: Request) -> Identity:
    identity: Identity = request.app.state.identity_service
    return identity


async def the_clients(request: Request) -> Clients:
    clients: Clients = request.app.state.clients
    return clients


TheIdentity = Annotated[Identity, Depends(the_identity)]
Services = Annotated[Clients, Depends(the_clients)]
Limit = Annotated[int, Query(ge=1, le=200)]
Cursor = Annotated[str | None, Query(max_length=64)]
Word = Annotated[str | None, Query(max_length=200)]

PROBLEMS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": Problem, "description": "What is wrong with the request, as application/problem+json."},
    "5XX": {"model": Problem, "description": "What is wrong on our side, as application/problem+json."},
}
