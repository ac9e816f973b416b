"""Summaries of recordings; the chat service makes them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from services.api_gateway.relay import Relayed, relay
from services.api_gateway.routes import PROBLEMS, Services
from shared.auth.dependencies import CurrentUser
from shared.schemas.summaries import Summary, SummaryAccepted, SummaryRequest

router = APIRouter(prefix="/transcription", tags=["recordings"], responses=PROBLEMS, route_class=Relayed)


@router.post(
    "/{transcript_id}/summary",
    response_model=Summary | SummaryAccepted,
    responses={202: {"model": SummaryAccepted, "description": "The model is at work; follow Location."}},
)
async def summarise(
    transcript_id: str,
    http: Request,
    user: CurrentUser,
    services: Services,
    request: SummaryRequest | None = None,
    wait_s: Annotated[float, Query(ge=0, le=300)] = 60.0,
) -> Response:
    """The whole recording in short. Mode `model` answers 202 where it takes longer than `wait_s`."""
    asked = request or SummaryRequest()
    return await relay(services.gemma, http, user, body=asked.model_dump_json(exclude_none=True).encode())


@router.get("/{transcript_id}/summary", response_model=Summary)
async def summary(transcript_id: str, request: Request, user: CurrentUser, services: Services) -> Response:
    """The one that was made last; `stale` where the transcript was changed since."""
    return await relay(services.gemma, request, user)
