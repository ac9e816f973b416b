"""For clients that keep a copy, or do not know this server yet."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request

from services.api_gateway import sync, tus
from services.api_gateway.routes import PROBLEMS, Limit, Services, TheIdentity
from shared.auth.dependencies import CurrentUser, PublicRoute
from shared.errors import Forbidden
from shared.schemas.health import ServerCard, Tus
from shared.schemas.sync import SyncPage
from shared.service import platform_version

router = APIRouter(tags=["mobile"], responses=PROBLEMS)
API_VERSION = 1
"""Goes up when a client that was written for it would break."""
FEATURES = ("audio_links", "chat", "live", "memories", "openai", "peaks", "sealed_vault", "sessions", "speech", "sync")
NEEDED = ("chat", "memory", "recordings")
"""Scopes of which a personal token must have all."""


@router.get("/.well-known/nemo-server", dependencies=[PublicRoute])
async def card(request: Request, identity: TheIdentity) -> ServerCard:
    """What this server is and can do, for a client that was given its address only."""
    settings = request.app.state.settings
    first_run = identity.accounts.empty()
    return ServerCard(
        name=settings.server_name,
        version=platform_version(),
        api_version=API_VERSION,
        registration_open=first_run or settings.registration_open,
        first_run=first_run,
        features=list(FEATURES),
        tus=_tus(settings.max_file_bytes),
    )


def _tus(most: int) -> Tus:
    return Tus(version=tus.VERSION, extensions=tus.EXTENSIONS.split(","), path=tus.PREFIX, max_bytes=most)


@router.get("/sync")
async def changes(
    user: CurrentUser,
    services: Services,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
    limit: Limit = 100,
) -> SyncPage:
    """What changed since `cursor`, in order, with what was deleted; without it everything. 410: begin anew without it.

    A page may have fewer entries than `limit`, or none, and `has_more` all the same.
    """
    missing = [each for each in NEEDED if each not in user.scopes]
    if missing:
        raise Forbidden(f"This token does not have the scopes {', '.join(missing)}.")
    return await sync.changes(services, user, cursor, limit)
