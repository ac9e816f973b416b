"""The public routes. They are the public API document, so each is typed."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Query, Request

from services.api_gateway.audit import AuditLog
from services.api_gateway.clients import Clients
from services.api_gateway.service import Identity
from shared.schemas.problem import Problem


async def the_identity(request: Request) -> Identity:
    identity: Identity = request.app.state.identity_service
    return identity


async def the_clients(request: Request) -> Clients:
    clients: Clients = request.app.state.clients
    return clients


class Witness:
    """Writes into the audit log what is done by this request."""

    def __init__(self, request: Request) -> None:
        self._log: AuditLog = request.app.state.audit
        self._address = request.client.host if request.client else None

    async def __call__(
        self, action: str, *, actor: str | None = None, subject: str | None = None, **details: str
    ) -> None:
        await self._log.note(action, actor=actor, subject=subject, address=self._address, **details)


async def the_witness(request: Request) -> Witness:
    return Witness(request)


TheWitness = Annotated[Witness, Depends(the_witness)]
TheIdentity = Annotated[Identity, Depends(the_identity)]
Services = Annotated[Clients, Depends(the_clients)]
Limit = Annotated[int, Query(ge=1, le=200)]
Cursor = Annotated[str | None, Query(max_length=64)]
Word = Annotated[str | None, Query(max_length=200)]

PROBLEMS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": Problem, "description": "What is wrong with the request, as application/problem+json."},
    "5XX": {"model": Problem, "description": "What is wrong on our side, as application/problem+json."},
}
