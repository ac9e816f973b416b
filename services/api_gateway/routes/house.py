"""Health, version, metrics and the API document."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from shared.auth.dependencies import PublicRoute, is_collector
from shared.clients import ServiceClient
from shared.errors import Forbidden, ProductError
from shared.schemas.health import PlatformHealth
from shared.service import health_of, platform_version

router = APIRouter(tags=["house"], dependencies=[PublicRoute])
CACHE_S = 1.0


@router.get("/health")
@router.get("/api/v1/health")
async def health(request: Request) -> PlatformHealth:
    """The platform at a glance: one word per service."""
    return await _platform(request)


@router.get("/ready")
@router.get("/api/v1/ready")
async def ready(request: Request, response: Response) -> PlatformHealth:
    """503 until every service answers."""
    found = await _platform(request)
    response.status_code = 200 if found.status == "ok" else 503
    return found


async def _platform(request: Request) -> PlatformHealth:
    """Asked at most once a second, however often somebody looks."""
    state = request.app.state
    at, found = getattr(state, "health", (0.0, None))
    if found is None or time.monotonic() - at > CACHE_S:
        found = await _look(request)
        state.health = (time.monotonic(), found)
    first_run: bool = state.identity_service.accounts.empty()
    return PlatformHealth.model_validate(found.model_dump() | {"first_run": first_run})


async def _look(request: Request) -> PlatformHealth:
    clients = request.app.state.clients.all()
    asked = asyncio.gather(*(_word(client) for client in clients))
    own, words = await asyncio.gather(health_of(request.app), asked)
    services = {"api-gateway": own.status} | dict(zip((c.service for c in clients), words, strict=True))
    down = [word for word in services.values() if word != "ok"]
    return PlatformHealth(
        status="degraded" if down else "ok", version=platform_version(), first_run=False, services=services
    )


async def _word(client: ServiceClient) -> str:
    try:
        found = await client.json("GET", "/health", user=None, deadline_s=3)
        return str(found["status"])
    except ProductError:
        return "down"


@router.get("/api/v1/live")
async def live() -> dict[str, str]:
    """The process answers; `/live` says the same."""
    return {"status": "ok"}


@router.get("/version")
async def version() -> dict[str, str]:
    return {"version": platform_version()}


@router.get("/metrics", include_in_schema=False)
@router.get("/api/v1/metrics", include_in_schema=False)
async def metrics(request: Request) -> Response:
    """For a collector on this machine, or one with the scrape token."""
    host = request.client.host if request.client else ""
    local = host in ("127.0.0.1", "::1") and "x-forwarded-for" not in request.headers
    if not local and not is_collector(request):
        raise Forbidden
    return Response(await request.app.state.metrics.read(), media_type="text/plain; version=0.0.4")


@router.get("/openapi.json", include_in_schema=False)
async def openapi(request: Request) -> JSONResponse:
    document: dict[str, Any] = request.app.openapi()
    return JSONResponse(document)
